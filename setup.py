"""Builds the one extension; everything else about the package is in pyproject.toml.

TINYLLM_NO_EXT=1 leaves it out. TINYLLM_REQUIRE_EXT=1 makes a failed build an error; otherwise tinyllm then
runs on its NumPy specs. The C is built for each instruction set into the same file (csrc/level_*.c), so there
is no -march here: an installed copy works on any machine.
"""

import os
import runpy
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SERVICES = ["csrc/cpu.c", "csrc/parallel.c", "csrc/pieces.c", "csrc/pool.c", *sorted(glob("csrc/bpe_*.c"))]
TABLES = "csrc/unicode_tables"  # .py writes .h, from the package `regex`


def extensions():
    if os.environ.get("TINYLLM_NO_EXT"):
        return []
    from Cython.Build import cythonize

    extension = Extension(
        "tinyllm.ops._compiled",
        sources=["tinyllm/ops/_compiled.pyx", *SERVICES, *sorted(glob("csrc/level_*.c"))],
        depends=[*glob("csrc/*.[ch]"), f"{TABLES}.py", f"{TABLES}.h", *glob("tinyllm/ops/*.px[id]")],
        include_dirs=["csrc"],
        extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-Wno-psabi", "-pthread"],
        extra_link_args=["-pthread"],
        optional=not os.environ.get("TINYLLM_REQUIRE_EXT"),
    )
    built = cythonize([extension], include_path=["tinyllm/ops"])
    for new in built:
        new.optional = extension.optional  # cythonize makes a copy without it
    return built


class OptionalBuild(build_ext):
    """Whatever keeps an optional extension from being built, a missing compiler included, is only said."""

    def build_extension(self, ext):
        try:
            runpy.run_path(f"{TABLES}.py")["write"](f"{TABLES}.h")
            super().build_extension(ext)
        except (Exception, SystemExit) as error:
            if not ext.optional:
                raise
            self.warn(f"no compiled kernels, tinyllm will run on its NumPy specs ({error})")


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild})
