"""Small helpers that several specs share: flatten to rows, count operations, refuse wrong shapes and ids."""

import math
from typing import Any

import numpy as np

Array = np.ndarray
FLOAT32 = np.dtype(np.float32)  # compared with a type such as np.float32, a dtype takes three times as long


def rows(x: Array) -> Array:
    """View x (..., n) as a matrix (product of the leading axes, n)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def linear_flops(args: dict[str, Any], result: Any) -> int:
    """Count a multiplication and an addition for each input of every output of a layer."""
    y = result[0] if isinstance(result, tuple) else result
    return 2 * y.size * args["x"].shape[-1]


def same_shape(x: Array, y: Array, *more: Array) -> None:
    """Raise ValueError unless all arrays have one shape: NumPy would broadcast them and hide the mistake."""
    if x.shape != y.shape:
        raise ValueError(f"needs arrays of one shape, got {x.shape} and {y.shape}; reshape one")
    if more:
        same_shape(y, *more)


def ids_below(name: str, ids: Array, n: int) -> None:
    """Raise TypeError unless ids are integers, IndexError unless all are in 0..n-1; NumPy would accept -1."""
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name} needs integer ids, got {ids.dtype}; use ids.astype(np.int32)")
    outside = (ids < 0) | (ids >= n)
    if np.any(outside):
        raise IndexError(f"{name}: id {ids[outside].flat[0]} is outside 0..{n - 1} (V = {n})")
