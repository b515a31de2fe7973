"""Run tests on a build of csrc/ with sanitizers, and require that they report nothing.

    python tests/proofs/verify_sanitizers.py [--quick] [address] [thread]

address: memory outside of arrays, leaks, undefined behaviour; thread: data races. The tests are the usual
ones of the ops, the tokenizers, the pool and the threads. The dynamic linker prefers a preloaded library, so
the installed extension calls the functions built here, except those of its Cython code. $CC, else cc, must be
gcc. Takes minutes, most of them to compile; --quick does not build the kernels.
"""

import subprocess
import sys
import tempfile

from native import COMPILER, KERNELS, SERVICES, library, run

SANITIZERS = {  # flags, the library that must be loaded first
    "address": (["-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], "libasan.so"),
    "thread": (["-O1", "-g1", "-fsanitize=thread"], "libtsan.so"),
}
FEW = {  # tests, as arguments of pytest; names are of files in tests/unit
    "address": ["bpe_kernels", "pool", "-k", "not cuts_change_nothing and not memory_behind"],
    "thread": ["parallel", "-k", "nested or at_once"],
}
ALL = {
    # Without the interpreters that `parallel` starts: each would report memory that CPython leaks at exit.
    "address": ["bpe_kernels", "bpe_ops", "pool", "parallel", "pieces", "ops", "ops_twins", "ladder", "bits",
                "-k", "not interpreter"],
    "thread": ["pool", "bits", "bpe_kernels", "parallel", "-k", "not fork and not interpreter"],
}
STRICT = {
    "ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=8:allocator_may_return_null=1:exitcode=99",
    "TSAN_OPTIONS": "die_after_fork=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "PYTHONMALLOC": "malloc",  # so that the sanitizers see every block
    "TINYLLM_EXAMPLES": "4",
}


def report(code, text):
    """Return the errors of a test run, or "". Memory that the interpreter leaks at exit does not count.

    Blocks of the pool leak with Python's arrays, so only leaks in csrc/bpe count.
    """
    leaks = [part for part in text.split("\n\n") if "leak of" in part and "csrc/bpe/" in part]
    ended = "[100%]" in text and "FAILED" not in text and "ERROR: AddressSanitizer" not in text
    if code == 0 or (ended and code == 99 and "ERROR: LeakSanitizer" in text):
        return "\n\n".join(leaks)
    return f"exit code {code}\n{text}"


def runtime(sanitizer):
    """Return the path of a sanitizer's library, or None if the compiler has none."""
    name = SANITIZERS[sanitizer][1]
    words = [*COMPILER, f"-print-file-name={name}"]
    path = subprocess.run(words, stdout=subprocess.PIPE, text=True).stdout.strip()
    return path if path != name else None


def drive(sanitizer, quick=True):
    """Build services, and kernels if not quick; run tests on them -> the first report, or ""."""
    sources, tests = (SERVICES, FEW) if quick else (SERVICES + KERNELS, ALL)
    files = [f"tests/unit/test_{word}.py" if word.isidentifier() else word for word in tests[sanitizer]]
    words = ["setarch", "-R", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", *files]
    with tempfile.TemporaryDirectory() as folder:
        built = library("sanitized.so", sources, folder, *SANITIZERS[sanitizer][0])
        for level in [{}] if quick else [{}, {"TINYLLM_CPU": "avx2"}]:
            done = run(words, 3000, LD_PRELOAD=f"{runtime(sanitizer)} {built}", **STRICT, **level)
            if found := report(*done):
                return found
    return ""


def main(words):
    names = [word for word in words if word != "--quick"] or [name for name in SANITIZERS if runtime(name)]
    found = {name: drive(name, "--quick" in words) for name in names}
    failed = sum(map(bool, found.values()))
    print(*(f"{name:8} {said or 'clean'}" for name, said in found.items()), sep="\n")
    print(f"=> tests under sanitizers ({', '.join(names)}): {failed or 'zero'} reports, zero suppressions")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
