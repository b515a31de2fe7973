"""Run the long proofs one after the other, and print a table of their figures: `make verify`.

    python tests/proofs/verify.py [--quick] [NAME ...]

Every proof is a script, verify_NAME.py, that can be run alone; its first lines say what it proves. A line
that begins with "=> " belongs into the table. --quick gives each a short form, of a minute or two in all.
Those that compare with other libraries are not run where these are missing.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

PROOFS = ["kills", "kernels", "sanitizers", "tokenizer", "world", "lessons", "grading", "names", "shipped"]
SHORT = {"kills": ["--kills", "3"]}  # a short form that is not called --quick
RESULTS = {0: "holds", 77: "not run"}  # by exit code; 77 says that a peer is missing, which is no failure


def run(name, arguments):
    """Run one proof, passing on what it prints; return its exit code and the lines that hold its figures."""
    command = [sys.executable, Path(__file__).with_name(f"verify_{name}.py"), *arguments]
    figures = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("=> "):
                figures.append(line[3:].strip())
    return process.returncode, figures


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the short form of each")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROOFS)}; default: all")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(PROOFS):
        parser.error(f"there is no proof {min(unknown)}; there are {', '.join(PROOFS)}")
    rows = []
    for name in args.names or PROOFS:
        print(f"\n=== verify_{name}.py", flush=True)
        began = time.monotonic()
        code, figures = run(name, SHORT.get(name, ["--quick"]) if args.quick else [])
        rows.append((name, RESULTS.get(code, "FAILED"), time.monotonic() - began, figures))
    print(f"\n{'proof':10} {'result':7} {'time':>6}  figures")
    for name, result, seconds, figures in rows:
        print(f"{name:10} {result:7} {seconds:4.0f} s ", f"\n{' ' * 27}".join(figures))
    failed = [name for name, result, *_ in rows if result == "FAILED"]
    print(f"\n{len(rows) - len(failed)} of {len(rows)} proofs did not fail", *failed, sep="; FAILED: ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
