"""Read the source files of this repository, for the tests that keep its rules."""

import ast
import functools
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"csrc/glue/_compiled.c", "csrc/glue/_kernels.pxi", "csrc/unicode_tables.h"}
CODE = (".py", ".c", ".h", ".pyx", ".pxi", ".pxd")

parsed = functools.cache(ast.parse)
walked = functools.cache(lambda text: [*ast.walk(parsed(text))])


class Source(NamedTuple):
    path: str  # relative to the root, with slashes
    text: str

    @property
    def tree(self):
        """Return the syntax tree; it is empty for C."""
        return parsed(self.text if self.path.endswith(".py") else "")

    @property
    def part(self):
        """Return the part of tinyllm that has this file, such as ops for tinyllm/ops/softmax.py, or None."""
        steps = self.path.removesuffix(".py").split("/")
        return steps[1] if steps[0] == "tinyllm" else None


@functools.cache
def sources(*suffixes):
    folders = ("tinyllm", "csrc", "tests", "examples", "lessons", "benchmarks", "tools", ".ci")
    files = [ROOT / "setup.py", *(path for folder in folders for path in sorted((ROOT / folder).rglob("*")))]
    found = [Source(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
             for path in files if path.suffix in suffixes]
    return [source for source in found if source.path not in GENERATED]


def library():
    return [source for source in sources(".py") if source.part]
