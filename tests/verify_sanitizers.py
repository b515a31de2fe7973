"""Builds csrc/ under sanitizers and drives every kernel and service with it: no report is allowed.

`python tests/verify_sanitizers.py [address] [thread] [plain]` ($CC, else cc). address: memory outside of
arrays, leaks, undefined behaviour; thread: data races; plain: no sanitizer, optimised. Takes minutes, most of
them to compile; test_sanitizers.py is the short form.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parent / "csrc"
COMMON = ["-std=c11", "-g1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-psabi", "-pthread", f"-I{CSRC}"]
SANITIZERS = {
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],  # -O1 would compile for minutes
    "thread": ["-O1", "-fsanitize=thread"],
    "plain": ["-O3"],
}
STRICT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1",
    "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
SERVICES = [HERE / "csrc_services.c", CSRC / "parallel.c", CSRC / "pool.c"]
KERNELS = [HERE / "csrc_kernels.c", *(CSRC / f"{stem}.c" for stem in ("cpu", "parallel", "pool")),
           *sorted(CSRC.glob("level_*.c"))]


def compiler():
    return os.environ.get("CC", "cc").split()


def build(sources, sanitizer, folder):
    """Compile each source by itself, all at once; return the program. Raises CalledProcessError."""
    flags = [*COMMON, *SANITIZERS[sanitizer]]
    commands = [[*compiler(), *flags, "-c", str(source), "-o", str(Path(folder) / f"{source.stem}.o")]
                for source in sources]
    running = [subprocess.Popen(command) for command in commands]
    for process in running:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, process.args)
    program = Path(folder) / "drive"
    objects = [command[-1] for command in commands]
    subprocess.run([*compiler(), *flags, *objects, "-lm", "-o", str(program)], check=True)
    return program


def drive(sources, sanitizer):
    """Build and run one driver; return its exit code and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(sources, sanitizer, folder)
        done = subprocess.run([str(program)], env=os.environ | STRICT, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def main(names):
    failed = 0
    for sanitizer in names or SANITIZERS:
        for sources in (SERVICES, KERNELS):
            code, text = drive(sources, sanitizer)
            failed |= code
            sys.stdout.write(f"{sanitizer:8} {'FAILED' if code else 'clean'}  {text.strip()}\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
