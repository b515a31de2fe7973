"""Run the long proofs one after the other, and print a table of their figures: `make verify`.

    python tests/proofs/verify.py [--quick] [NAME ...]

Every proof is a script, verify_NAME.py or tools/shipped_model.py, that can be run alone; its docstring says
what it proves. Lines that it prints with "=> " go into the table. --quick runs a short form of each, a minute
or two for all. Proofs that compare with other libraries exit with 77 if these are missing: no failure.
"""

import subprocess
import sys
import time
from pathlib import Path

OTHERS = {"shipped": (Path(__file__).parents[2] / "tools/shipped_model.py", "--check")}
RESULTS = {0: "holds", 77: "not run"}  # by exit code


def proofs():
    """Return {name: (script, its own options)} of all proofs."""
    found = sorted(Path(__file__).parent.glob("verify_*.py"))
    return {path.stem.removeprefix("verify_"): (path,) for path in found} | OTHERS


def run(*words):
    """Run one proof and print its output; return its exit code and its lines for the table."""
    figures = []
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("=> "):
                figures.append(line[3:].strip())
    return process.returncode, figures


def main(words):
    quick = [word for word in words if word == "--quick"]
    rows = []
    for name in [word for word in words if word not in quick] or proofs():
        print(f"\n=== {proofs()[name][0].name}", flush=True)
        began = time.monotonic()
        code, figures = run(*proofs()[name], *quick)
        rows.append((name, RESULTS.get(code, "FAILED"), time.monotonic() - began, figures))
    print(f"\n{'proof':10} {'result':7} {'time':>6}  figures")
    for name, result, seconds, figures in rows:
        print(f"{name:10} {result:7} {seconds:4.0f} s ", f"\n{' ' * 27}".join(figures))
    failed = [name for name, result, *_ in rows if result == "FAILED"]
    print(f"\n{len(rows) - len(failed)} of {len(rows)} proofs did not fail", *failed, sep="; FAILED: ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
