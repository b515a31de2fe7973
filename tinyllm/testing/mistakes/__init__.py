"""Mistakes that people really make, one file per file of ops.

Each is a function with its op's signature. They test the tests: `check` must catch every one. And they name a
student's bug: see `diagnose`.
"""

from importlib import import_module

from tinyllm.testing.cases import PARTS
from tinyllm.testing.mistake import MISTAKES

for part in PARTS:  # the files of the same names, which register their mistakes when they are imported
    import_module(f"{__name__}.{part.__name__.rpartition('.')[2]}")

__all__ = ["MISTAKES"]
