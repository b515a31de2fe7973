"""Coverage-guided fuzzing of the tokenizer: its C with libFuzzer, the loaders of its files with atheris.

    python tests/proofs/verify_fuzz.py [--quick] [--seconds N] [NAME ...]

C (fuzz_tokenizer.c, built by $CLANG, else clang, with AddressSanitizer and UndefinedBehaviorSanitizer):
split, encode, merge, decode, train, each against slow and obvious loops. Loaders (fuzz_loaders.py):
huggingface, tiktoken, gpt2; without the package atheris the mutations are blind. All of them run at
once, --seconds each, by default 600; --quick: a fixed number of executions with a fixed seed instead. What is
found is printed with its input in base64. One finding fails.
"""

import argparse
import concurrent.futures
import importlib.util
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import native
from native import HERE, run

C = ("split", "encode", "merge", "decode", "train")
LOADERS = ("huggingface", "tiktoken", "gpt2")
SOURCES = [HERE / "fuzz_tokenizer.c", HERE / "fuzz_encode.c", *native.BPE]
FLAGS = ["-g1", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
STRICT = {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=8", "UBSAN_OPTIONS": "print_stacktrace=1"}
QUICK = {"split": 2000, "encode": 200, "merge": 200, "decode": 2000, "train": 40}  # executions
QUICK_LOADER = 100
TEXTS = [
    "the cat's 12 naïve hats sat on the mat, THE Mat's\r\n\n  end \n", "a" * 700, "ab" * 300, "the mat " * 20,
    "😀😁e\u0301 中文字", " \t \u00a0\u2028", "I'll 1234567890 don'T ǅemu_ſ's",
]  # fmt: skip


def clang():
    """The words that call clang."""
    return os.environ.get("CLANG", "clang").split()


def build(folder):
    """Compile the C target; return the program and why there is none, one of them None."""
    if not native.have(clang()):
        return None, f"there is no {clang()[0]}: the C is not fuzzed"
    empty = Path(folder) / "empty.c"
    empty.write_text("int LLVMFuzzerTestOneInput(void) { return 0; }\n")
    try:
        words = [*clang(), *FLAGS, str(empty), "-o", str(empty.with_suffix(""))]
        subprocess.run(words, check=True, capture_output=True)
    except subprocess.CalledProcessError:
        return None, f"{clang()[0]} has no libFuzzer (Debian: libclang-rt-dev): the C is not fuzzed"
    return native.build(SOURCES, folder, FLAGS, clang()), None


def fuzz_c(program, name, folder, args):
    """Run one target in C; return its exit code and what it printed."""
    rng, corpus = random.Random(1), Path(folder) / name
    corpus.mkdir()
    for i, text in enumerate(TEXTS):
        for choices in (12, 60, 160):
            seed = bytes(rng.randrange(256) for _ in range(choices)) + text.encode()
            (corpus / f"{i}_{choices}").write_bytes(seed)
    length = f"-runs={QUICK[name]}" if args.quick else f"-max_total_time={args.seconds}"
    words = [length, "-seed=1", "-max_len=2000", "-timeout=60", "-print_final_stats=1"]
    # Linux counts in a program's peak what the process that started it held.
    words.append(f"-rss_limit_mb={2048 + (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)}")
    words.append(f"-artifact_prefix={folder}/{name}-")
    late = 300 if args.quick else args.seconds + 300
    found = run([program, corpus, *words], late, FUZZ=name, **STRICT)
    if found[0] == 124:  # not the target, which has 60 s: LeakSanitizer at times waits for its own tracer
        found = run([program, corpus, *words], late, FUZZ=name, **STRICT)
    return found


def fuzz_loader(name, args):
    """Run one loader; return its exit code and what it printed."""
    length = ["--runs", QUICK_LOADER, "--blind"] if args.quick else ["--seconds", args.seconds]
    return run([sys.executable, HERE / "fuzz_loaders.py", name, *length])


def summary(name, code, text):
    """One line of figures, and all of the end where something was found."""
    executions = re.findall(r"number_of_executed_units: +(\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    edges = f"{covered[-1]} edges covered" if covered else "blindly"
    found = "a FINDING" if code else "nothing found"
    print(f"{name:12} {int(executions[-1] if executions else 0):9,} executions, {edges}: {found}", flush=True)
    if code:
        print("\n".join(text.splitlines()[-60:]), flush=True)
    return int(executions[-1]) if executions else 0


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few executions, always the same")
    parser.add_argument("--seconds", type=int, default=600, help="for each; all run at once")
    names = [*C, *LOADERS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; default: all")
    args = parser.parse_args(argv)
    unknown = set(args.names) - set(names)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    names = args.names or names
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        program, missing = build(folder) if set(names) & set(C) else (None, None)
        if missing:
            print(missing, flush=True)
            names = [name for name in names if name not in C]
        if not args.quick and set(names) & set(LOADERS) and not importlib.util.find_spec("atheris"):
            print("there is no package atheris: the loaders are fuzzed blindly", flush=True)
        runs = {
            name: pool.submit(fuzz_c, program, name, folder, args) if name in C
            else pool.submit(fuzz_loader, name, args) for name in names
        }  # fmt: skip
        executions = [summary(name, *done.result()) for name, done in runs.items()]
        found = sum(done.result()[0] != 0 for done in runs.values())
    length = "a fixed number of executions" if args.quick else f"{args.seconds} s each"
    left_out = f"; {missing}" if missing else ""
    print(f"=> fuzzed {', '.join(names) or 'nothing'}, {length}: {sum(executions):,} executions, "
          f"{found or 'zero'} findings{left_out}")  # fmt: skip
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
