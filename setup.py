"""Build the one extension; everything else about the package is in pyproject.toml.

TINYLLM_NO_EXT=1 leaves it out. If the build fails, tinyllm runs on its NumPy specifications;
TINYLLM_REQUIRE_EXT=1 makes a failed build an error. One extension contains the C kernels for all instruction
sets (csrc/level_*.c), so there is no -march here: an installed copy works on any machine.
"""

import os
import runpy
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

SERVICES = ["csrc/cpu.c", "csrc/parallel.c", "csrc/pool.c", *sorted(glob("csrc/bpe/*.c"))]
BINDINGS = "csrc/bindings.py"  # writes csrc/kernels.inc and csrc/glue/_kernels.pxi
TABLES = "csrc/unicode_tables"  # .py writes .h, from tinyllm/ops/unicode-16.0.txt


def extensions():
    """Write the generated sources and return the extension in a list, or an empty list without one."""
    if os.environ.get("TINYLLM_NO_EXT"):
        return []
    import numpy
    from Cython.Build import cythonize

    runpy.run_path(BINDINGS)["write"]()
    extension = Extension(
        "tinyllm.ops._compiled",
        sources=["csrc/glue/_compiled.pyx", *SERVICES, *sorted(glob("csrc/level_*.c"))],
        depends=[*glob("csrc/**/*.[ch]", recursive=True), BINDINGS, "csrc/kernels.inc",
                 f"{TABLES}.py", f"{TABLES}.h", *glob("csrc/glue/*.px[id]")],
        include_dirs=["csrc", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-Wno-psabi", "-pthread"],
        extra_link_args=["-pthread"],
        optional=not os.environ.get("TINYLLM_REQUIRE_EXT"),
    )
    built = cythonize([extension], include_path=["csrc/glue"])
    for new in built:
        new.optional = extension.optional  # cythonize copies the extension without this attribute
    return built


class OptionalBuild(build_ext):
    """Warn, and go on without kernels, when the optional extension cannot be built."""

    def build_extension(self, ext):
        try:
            runpy.run_path(f"{TABLES}.py")["write"](f"{TABLES}.h")
            super().build_extension(ext)
        except (Exception, SystemExit) as error:
            if not ext.optional:
                raise
            self.warn(f"no compiled kernels, tinyllm will run on its NumPy specifications ({error})")


class WithLessons(build_py):
    """Copy lessons/, which stands beside the package, into an installed package as tinyllm/lessons."""

    def run(self):
        super().run()
        if self.editable_mode:  # it uses the checkout, where lessons/ is
            return
        for source in sorted(Path("lessons").rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                target = Path(self.build_lib, "tinyllm", source)
                self.mkpath(str(target.parent))
                self.copy_file(str(source), str(target))


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild, "build_py": WithLessons})
