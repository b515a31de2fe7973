"""Drives every kernel at guard pages, and compares its bits over levels, threads, compilers and machines.

    python tests/proofs/verify_kernels.py [--quick]

csrc_kernels.c runs on the installed kernels, and, where Debian's packages `clang`, `gcc-aarch64-linux-gnu`
and `qemu-user` are installed, on kernels built by clang and on NEON's, emulated. --quick stays with the
installed ones. Exits with 1 on a fault (a byte outside of an operand, or a write to an input) or on other
bits anywhere.
"""

import argparse
import subprocess
import sys
import tempfile

from native import HERE, KERNELS, LEVELS, build, compiler, have, run, run_installed

DRIVER = HERE / "csrc_kernels.c"
LIMIT = 600  # seconds

ARM = ["aarch64-linux-gnu-gcc"]
FOR_ARM = ["--target=aarch64-linux-gnu", "-isystem", "/usr/aarch64-linux-gnu/include"]
BUILDS = (  # what it is called, the compiler, flags, what links and what runs the program
    ("clang", ["clang"], ["-O3"], None, []),
    ("gcc -O1", ["gcc"], ["-O1"], None, []),
    ("NEON by gcc, in qemu", ARM, ["-O3", "-static"], ARM, ["qemu-aarch64"]),
    ("NEON by clang, in qemu", ["clang", *FOR_ARM], ["-O3", "-static"], ARM, ["qemu-aarch64"]),
)


def hashes(text):
    """One hash per kernel from what the driver printed."""
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)


def built_elsewhere(command, flags, linker, runner):
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = build([DRIVER, *LEVELS, *KERNELS], folder, flags, command, linker)
        except subprocess.CalledProcessError:
            return 1, "it does not compile: see above"
        return run([*runner, program, "guard"], LIMIT)


def report(name, code, text, expected):
    """Print one line, and what went wrong; return whether all is well."""
    found = hashes(text) if code == 0 else {}
    different = [kernel for kernel in expected if found.get(kernel) != expected[kernel]]
    good = code == 0 and not different
    print(f"{name:30} {f'{len(found)} kernels, no fault, the same bits' if good else 'FAILED'}", flush=True)
    if code:
        print(text.strip()[-2000:])
    elif different:
        print("other bits:", *different)
    return good


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="only the installed kernels")
    args = parser.parse_args(argv)
    code, text = run_installed("csrc_kernels.c", "guard", timeout=LIMIT)
    expected = hashes(text)
    good = report(f"installed ({' '.join(compiler())})", code, text, expected)
    ran = 1
    for name, command, flags, linker, runner in () if args.quick else BUILDS:
        needed = [command[0], *(linker or ())[:1], *runner]
        lacking = next((program for program in needed if not have(program)), None)
        if lacking:
            print(f"{name:30} not tried: {lacking} is not installed")
            continue
        good &= report(name, *built_elsewhere(command, flags, linker, runner), expected)
        ran += 1
    print(f"=> {len(expected)} kernels, each operand at guard pages, at every level, 1 and 3 threads, "
          f"in {ran} build{'s' * (ran > 1)}: {'zero faults, one set of bits' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
