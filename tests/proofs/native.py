"""Compile C for the tests: csrc/ with other flags, and an instruction-set level that only tests use."""

import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[1]
CSRC = TOP / "csrc"
SERVICES = [CSRC / "parallel.c", CSRC / "pool.c", *sorted(CSRC.glob("bpe/*.c"))]
KERNELS = [CSRC / "cpu.c", *sorted(CSRC.glob("level_*.c"))]
COMPILER = os.environ.get("CC", "cc").split()
FLAGS = ["-std=c11", "-ffp-contract=off", "-Wno-psabi", "-pthread", "-fPIC", "-shared",
         f"-I{CSRC}", f"-I{CSRC}/bpe"]
CAN_COMPILE = shutil.which(COMPILER[0]) is not None


def library(name, sources, folder, *flags, compiler=COMPILER):
    """Compile sources into a library in a folder -> its path. Raises CalledProcessError on an error."""
    made = Path(folder) / name
    subprocess.run([*compiler, *FLAGS, *flags, *sources, "-lm", "-o", made], check=True)
    return made


def run(command, timeout=None, **environment):
    """Run a program; return its exit code (124 when it took too long) and all that it printed."""
    try:
        done = subprocess.run(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout, env=os.environ | environment, cwd=TOP)
    except subprocess.TimeoutExpired as late:
        return 124, f"{(late.stdout or b'').decode()}\nstill running after {timeout} seconds"
    return done.returncode, done.stdout
