"""Builds csrc/ under sanitizers and drives every kernel and service with it: no report is allowed.

    python tests/proofs/verify_sanitizers.py [--quick] [address] [thread] [plain]

The compiler is $CC, else cc. address: memory outside of arrays, leaks, undefined behaviour; thread: data
races; plain: no sanitizer, optimised. Nothing is suppressed. Takes minutes, most of them to compile; --quick
leaves the kernels out.
"""

import subprocess
import sys
import tempfile

import native
from native import HERE, KERNELS, run

SANITIZERS = {
    "address": ["-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],  # -O1 would take minutes
    "thread": ["-g1", "-O1", "-fsanitize=thread"],
    "plain": ["-O3"],
}
STRICT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1",
    "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
SERVICES = [HERE / "csrc_services.c", *native.SERVICES]
TOKENIZER = [HERE / "csrc_tokenizer.c", HERE / "fuzz_tokenizer.c", HERE / "fuzz_encode.c", *native.BPE]
DRIVES = {
    "services": (SERVICES, []),
    "tokenizer": (TOKENIZER, []),
    "kernels": ([HERE / "csrc_kernels.c", *native.LEVELS, *KERNELS], ["heap"]),
}


def drive(sources, sanitizer, *words, timeout=1200):
    """Build and run one driver; return its exit code and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = native.build(sources, folder, SANITIZERS[sanitizer])
        except subprocess.CalledProcessError:
            return 1, "it does not compile: see above"
        return run([program, *words], timeout, **STRICT)


def main(arguments):
    names, failed = [name for name in arguments if name != "--quick"] or list(SANITIZERS), 0
    drivers = [name for name in DRIVES if name != "kernels" or "--quick" not in arguments]
    for sanitizer in names:
        for driver in drivers:
            sources, words = DRIVES[driver]
            code, text = drive(sources, sanitizer, *words)
            failed += code != 0
            print(f"{sanitizer:8} {driver:8} {text.strip() if code else 'clean'}", flush=True)
    print(f"=> sanitizers {', '.join(names)} over {' and '.join(drivers)}: {failed or 'zero'} reports, "
          "zero suppressions")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
