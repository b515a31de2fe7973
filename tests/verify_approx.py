"""Measures the error of the kernels' functions on all 2**32 floats.

`python tests/verify_approx.py [exp log tanh erf silu gelu]` compiles verify_approx.c with the kernels ($CC,
else cc) and runs it; the exit code says whether every bound was kept. Takes minutes: test_approx.py is the
short form.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CSRC = HERE.parent / "csrc"
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=off", "-Wno-psabi", "-pthread"]


def main(names):
    sources = [HERE / "verify_approx.c", *(CSRC / f"{name}.c" for name in ("cpu", "parallel", "pool"))]
    sources += CSRC.glob("level_*.c")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "verify_approx"
        compiler = os.environ.get("CC", "cc").split()
        subprocess.run([*compiler, *FLAGS, f"-I{CSRC}", *map(str, sources), "-lm", "-o", program], check=True)
        return subprocess.run([str(program), *names]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
