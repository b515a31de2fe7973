"""The long proofs, one after the other: `make verify`. Each prints its figures.

Every proof is a script of its own that can be run alone; its first lines say what it proves.
"""

import subprocess
import sys
import time
from pathlib import Path

PROOFS = (
    ["verify_kills.py", "--kills", "100"],
    ["verify_bits.py"],
    ["verify_approx.py"],
    ["verify_sanitizers.py"],
)


def main():
    failed = []
    for script, *arguments in PROOFS:
        print(f"\n=== {' '.join([script, *arguments])}", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, Path(__file__).with_name(script), *arguments]).returncode:
            failed.append(script)
        print(f"({time.monotonic() - began:.0f} s)", flush=True)
    holds = len(PROOFS) - len(failed)
    print(f"\n{holds} of {len(PROOFS)} proofs hold", *(f"failed: {f}" for f in failed), sep="; ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
