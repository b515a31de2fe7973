"""Compile C for the tests: csrc/ with other flags, and levels that only tests have."""

import concurrent.futures
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[1]
CSRC = TOP / "csrc"
SERVICES = [CSRC / "parallel.c", CSRC / "pool.c", *sorted(CSRC.glob("bpe/*.c"))]
KERNELS = [CSRC / "cpu.c", *sorted(CSRC.glob("level_*.c"))]
LEVELS = [HERE / "level_narrow.c", HERE / "level_wide.c"]  # that only tests build
FLAGS = ["-std=c11", "-ffp-contract=off", "-Wno-psabi", "-pthread", "-fPIC", f"-I{CSRC}", f"-I{CSRC}/bpe"]

def compiler():
    """Return the words that call the C compiler: $CC, else cc."""
    return os.environ.get("CC", "cc").split()


def have(command):
    """Return True if there is such a command."""
    return shutil.which(command) is not None


def objects(sources, folder, flags, command=None):
    """Compile each source by itself, two at a time -> the object files."""
    made = [Path(folder) / f"{source.stem}.o" for source in sources]

    def compiled(source, to):
        subprocess.run([*(command or compiler()), *FLAGS, *flags, "-c", source, "-o", to], check=True)

    with concurrent.futures.ThreadPoolExecutor(2) as both:
        list(both.map(compiled, sources, made))
    return made


def library(name, sources, folder, flags=("-O2",), command=None, beside=()):
    """Compile sources, and link them with objects and libraries beside them -> the path of the library.

    Raises CalledProcessError when the compiler complains.
    """
    made = Path(folder) / name
    linked = [*objects(sources, folder, flags, command), *beside]
    words = [*(command or compiler()), "-shared", "-pthread", *flags, *linked, "-lm", "-o", made]
    subprocess.run(words, check=True)
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
