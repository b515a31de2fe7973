"""Define helpers for ops: view rows, compute erf, count FLOPs, check shapes and ids."""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
FLOAT32 = np.dtype(np.float32)  # comparing a dtype with the type np.float32 takes three times as long


def rows(x: Array) -> Array:
    """View x (..., n) as a matrix (product of the leading axes, n)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def erf(x: Array) -> Array:
    """Compute 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, a function that NumPy lacks."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(x.dtype)


def linear_flops(args: dict[str, Any], result: Any) -> int:
    """Count the operations of a linear layer: n_in products and n_in sums for each output -> int."""
    y = result[0] if isinstance(result, tuple) else result
    return 2 * y.size * args["x"].shape[-1]


class ShapeCheck:
    """Check an op's arguments against declared shapes such as "x (..., I), w (I, O), b (O,)".

    Equal letters stand for equal sizes, and "..." for the same leading axes. An argument that is None is not
    checked. Raises ValueError on other shapes, because NumPy might broadcast them and hide the mistake.

    more: a second check, for conditions that shapes cannot express.
    fitted: a cache of shapes that passed, because a model uses the same shapes again and again.
    """

    def __init__(self, declaration: str, signature: inspect.Signature, more: Callable | None = None):
        found = re.findall(r"(\w+) \((.*?)\)", declaration)
        axes = {name: re.findall(r"\.\.\.|\w+", text) for name, text in found}
        self.axes = [axes.pop(name, None) for name in signature.parameters if axes]  # up to the last declared
        self.declaration, self.signature, self.more = declaration, signature, more
        self.fitted: set[tuple] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs:
            (bound := self.signature.bind(*args, **kwargs)).apply_defaults()
            args = bound.args
        shapes = tuple([x if x is None else np.shape(x) for x in args[: len(self.axes)]])
        if shapes not in self.fitted:
            if not fit(self.axes, shapes):
                raise ValueError(f"needs {self.declaration}, got {', '.join(map(str, shapes))}")
            if len(self.fitted) < 1000:
                self.fitted.add(shapes)
        if self.more is not None:
            self.more(*args)


def fit(declared: list, shapes: tuple) -> bool:
    """Return True if shapes match declared axes such as [["...", "I"], ["I", "O"]]; None matches all."""
    sizes: dict[str, Any] = {}
    for axes, shape in zip(declared, shapes, strict=False):
        if axes is None or shape is None:
            continue
        lead = len(shape) - len(axes) + 1
        if axes[:1] == ["..."]:
            shape = (shape[:lead], *shape[lead:])
        if len(axes) != len(shape):
            return False
        if any(sizes.setdefault(axis, n) != n for axis, n in zip(axes, shape, strict=True)):
            return False
    return True


def ids_below(name: str, ids: Array, n: int) -> None:
    """Raise TypeError unless ids are integers, IndexError unless all are in 0..n-1 (NumPy accepts -1)."""
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} needs integer ids, got {ids.dtype}; use ids.astype(np.int32)")
    outside = (ids < 0) | (ids >= n)
    if np.any(outside):
        raise IndexError(f"{name}: id {ids[outside].flat[0]} is outside 0..{n - 1} (V = {n})")
