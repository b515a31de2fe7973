"""Builds the one extension; everything else about the package is in pyproject.toml.

TINYLLM_NO_EXT=1 leaves it out. TINYLLM_REQUIRE_EXT=1 makes a failed build an error; otherwise tinyllm then
runs on its NumPy specs. The C is built for each instruction set into the same file (csrc/level_*.c), so there
is no -march here: an installed copy works on any machine.
"""

import os
from glob import glob

from setuptools import Extension, setup

SERVICES = ["csrc/cpu.c", "csrc/parallel.c", "csrc/pool.c"]


def extensions():
    if os.environ.get("TINYLLM_NO_EXT"):
        return []
    from Cython.Build import cythonize

    extension = Extension(
        "tinyllm.ops._compiled",
        sources=["tinyllm/ops/_compiled.pyx", *SERVICES, *sorted(glob("csrc/level_*.c"))],
        depends=[*glob("csrc/*"), *glob("tinyllm/ops/*.pxi"), *glob("tinyllm/ops/*.pxd")],
        include_dirs=["csrc"],
        extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-Wno-psabi", "-pthread"],
        extra_link_args=["-pthread"],
        optional=not os.environ.get("TINYLLM_REQUIRE_EXT"),
    )
    return cythonize([extension], include_path=["tinyllm/ops"])


setup(ext_modules=extensions())
