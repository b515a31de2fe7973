"""Define ops: pure functions on arrays, one file for each topic, an op's gradient right after the op.

The NumPy body of an op is its specification: float32 in gives float32 out, float64 in gives float64 out, and
inputs are not changed. NumPy's RuntimeWarning stays on where an infinity turns into NaN, so users see it.

X_backward takes the gradient dy of the first result of X, and what X was given and returned, in its shapes.
It returns a gradient for each of the `grads` of X, in the shape of that argument.

Every file of this folder is imported here, and every registered op is an attribute of this module.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING

from tinyllm.ops.registry import OPS, Op, op, override, use

for _file in pkgutil.iter_modules(__path__):
    if not _file.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_file.name}")
for _op in OPS.values():
    _op.resolve()  # before any call, because tokenizers ask which implementation runs an op
globals().update(OPS)
__all__ = [*OPS, "OPS", "Op", "op", "override", "use"]

if TYPE_CHECKING:
    attention: Op  # a type checker would take these names for the files of the same name
    embedding: Op
    matmul: Op
    rope: Op
    sample: Op
    softmax: Op
    split: Op

    def __getattr__(name: str) -> Op: ...
