"""Compile C for the tests: csrc/ with other flags, levels that only tests have, drivers of kernels."""

import atexit
import concurrent.futures
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[1]
CSRC = TOP / "csrc"
SERVICES = [CSRC / "parallel.c", CSRC / "pool.c", *sorted(CSRC.glob("bpe/*.c"))]
KERNELS = [CSRC / "cpu.c", *sorted(CSRC.glob("level_*.c"))]
LEVELS = [HERE / "level_narrow.c", HERE / "level_wide.c"]  # that only tests build
FLAGS = ["-std=c11", "-ffp-contract=off", "-Wno-psabi", "-pthread", "-fPIC", f"-I{CSRC}", f"-I{CSRC}/bpe"]

# Runs the driver's main on the kernels of the extension, whose symbols show after opening it once more.
LOAD = """
import ctypes, sys
from tinyllm.ops import _compiled
ctypes.CDLL(_compiled.__file__, ctypes.RTLD_GLOBAL)
words = [word.encode() for word in sys.argv[1:]]
sys.exit(ctypes.CDLL(sys.argv[1]).main(len(words), (ctypes.c_char_p * (len(words) + 1))(*words, None)))
"""


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


@functools.cache
def scratch():
    """Make a folder that lasts as long as this process -> its path."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


def run_installed(driver, *words, timeout=None, flags=("-O2",), **environment):
    """Run a driver on the installed kernels; return its exit code and all that it printed.

    With the flag -DINSTALLED, it leaves out the levels that only proofs have, which take long to compile.
    """
    beside = [] if "-DINSTALLED" in flags else objects(LEVELS, scratch(), ["-O1"])
    made = library("driver.so", [HERE / driver], scratch(), flags, beside=beside)
    return run([sys.executable, "-c", LOAD, made, *words], timeout, **environment)
