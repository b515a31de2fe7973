"""Ops: arrays in, arrays out. One file per idea, each op's specification and its backward together.

The NumPy body of an op is its specification: float32 in gives float32 out, float64 in gives float64 out, and
inputs come back untouched. NumPy's RuntimeWarning is left on where an infinity turns into NaN, because that
is news.

Every file of this folder is imported here, and every op that one of them registers is an attribute.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from tinyllm.ops.registry import OPS, Op, op, override, use

for _file in pkgutil.iter_modules(__path__):
    if not _file.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_file.name}")
globals().update(OPS)
__all__ = [*OPS, "OPS", "Op", "op", "override", "use"]

if TYPE_CHECKING:
    attention: Op  # these have the names of files, for which a type checker would take them
    embedding: Op
    matmul: Op
    rope: Op
    sample: Op
    softmax: Op
    split: Op

    def __getattr__(name: str) -> Op: ...
