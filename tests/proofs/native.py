"""Builds and runs the C drivers of the tests: on the installed kernels, or with a compiler of choice.

A driver is a file with a `main`. On the installed kernels it is the shared library that Python uses that is
driven, so nothing but the driver is compiled, and the levels that only tests have; `build` compiles csrc/
too, with sanitizers or for another machine.
"""

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
CSRC = HERE.parents[1] / "csrc"
SERVICES = [CSRC / "parallel.c", CSRC / "pool.c"]
BPE = [*SERVICES, *sorted(CSRC.glob("bpe/*.c"))]
LEVELS = [HERE / "level_narrow.c", HERE / "level_wide.c"]  # that only tests build
KERNELS = [CSRC / "cpu.c", *SERVICES, *sorted(CSRC.glob("level_*.c"))]
FLAGS = ["-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Wno-psabi", "-pthread",
         f"-I{CSRC}", f"-I{CSRC}/bpe"]

# Runs the driver's main on the kernels of the extension, whose symbols show after opening it once more.
LOAD = """
import ctypes, sys
from tinyllm.ops import _compiled
ctypes.CDLL(_compiled.__file__, ctypes.RTLD_GLOBAL)
words = [word.encode() for word in sys.argv[1:]]
sys.exit(ctypes.CDLL(sys.argv[1]).main(len(words), (ctypes.c_char_p * (len(words) + 1))(*words, None)))
"""


def compiler():
    """The words that call the C compiler: $CC, else cc."""
    return os.environ.get("CC", "cc").split()


def have(command):
    """Whether there is such a command, or whether its first word is one."""
    return shutil.which(command[0] if isinstance(command, list) else command) is not None


def objects(sources, folder, command):
    """Compile each source by itself, two at a time; return the object files."""
    made = [str(Path(folder) / f"{source.stem}.o") for source in sources]

    def compiled(source, to):
        subprocess.run([*command, "-c", str(source), "-o", to], check=True)

    with concurrent.futures.ThreadPoolExecutor(2) as both:
        list(both.map(compiled, sources, made))
    return made


def build(sources, folder, flags=("-O3",), command=None, linker=None):
    """Compile the sources and link them (by another command, maybe); return the program.

    Raises CalledProcessError when the compiler complains.
    """
    command = [*(command or compiler()), *FLAGS, *flags]
    program = Path(folder) / "drive"
    made = objects(sources, folder, command)
    link = [*(linker or command), *flags, *made, "-lm", "-pthread", "-o", str(program)]
    subprocess.run(link, check=True)
    return program


def run(command, timeout=None, **environment):
    """Run a program; return its exit code (124 when it took too long) and all that it printed."""
    try:
        done = subprocess.run(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout, env=os.environ | environment, cwd=HERE.parents[1])
    except subprocess.TimeoutExpired as late:
        return 124, f"{(late.stdout or b'').decode()}\nstill running after {timeout} seconds"
    return done.returncode, done.stdout


@functools.cache
def levels():
    """Compile the levels that only tests have, once in this process; return the object files."""
    return objects(LEVELS, scratch(), [*compiler(), *FLAGS, "-O1", "-fPIC"])


@functools.cache
def library(driver, flags):
    """Compile a driver as a library, once in this process; return its path."""
    narrow_and_wide = "csrc_levels.h" in (HERE / driver).read_text() and "-DINSTALLED" not in flags
    made = scratch() / "driver.so"
    beside = levels() if narrow_and_wide else []
    command = [*compiler(), *FLAGS, *flags, "-shared", "-fPIC", str(HERE / driver), *beside, "-lm"]
    subprocess.run([*command, "-o", str(made)], check=True)
    return made


def scratch():
    """Make a folder that lasts as long as this process; return its path."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Path(folder)


def run_installed(driver, *words, timeout=None, flags=("-O2",), **environment):
    """Run a driver on the installed kernels; return its exit code and all that it printed.

    With the flag -DINSTALLED, it leaves out the levels that only proofs have, which take long to compile.
    """
    return run([sys.executable, "-c", LOAD, library(driver, flags), *words], timeout, **environment)
