"""Split the last axis into equal parts, and join them again; each op is the gradient of the other."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array

MOST = 1 << 16  # parts; a limit is needed, because an axis of length 0 is a multiple of every number


def check_split(x: Array, n: int) -> None:
    """Raise ValueError unless the length of the last axis is a multiple of n, and n at most MOST."""
    if not isinstance(n, int) or not 1 <= n <= MOST or x.ndim < 1 or x.shape[-1] % n:
        raise ValueError(f"cannot cut the last axis of {x.shape} into {n} equal parts")


def check_join(parts: list[Array]) -> None:
    """Raise ValueError if the list is empty or its arrays differ in shape."""
    shapes = {part.shape for part in parts}
    if len(shapes) != 1 or shapes == {()}:
        raise ValueError(f"needs one part or more, all of one shape (..., C), got {sorted(shapes)}")


@op(check=check_split)
def split(x: Array, n: int) -> tuple[Array, ...]:
    """Cut the last axis into n equal parts, such as queries, keys and values from one matrix product.

    x (..., n * C) -> n arrays (..., C). Raises ValueError when the last axis is not a multiple of n.
    """
    return tuple(part.copy() for part in np.split(x, n, axis=-1))


@op(check=check_join)
def join(parts: list[Array]) -> Array:
    """Concatenate arrays of one shape along the last axis, the inverse of split.

    parts: n arrays (..., C) -> (..., n * C). Raises ValueError when there are none or their shapes differ.
    """
    return np.concatenate(parts, axis=-1)
