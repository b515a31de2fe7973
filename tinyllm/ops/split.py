"""Cut the last axis into equal parts, and join them again: each is the other's gradient."""

import numpy as np

from tinyllm.ops.registry import op


@op
def split(x, n):
    """Cut the last axis into n equal parts, such as queries, keys and values that one product made.

    x (..., n * C) -> n arrays (..., C). Raises ValueError when the last axis does not divide by n.
    """
    if not isinstance(n, int) or n < 1 or x.shape[-1] % n:
        raise ValueError(f"split cannot cut a last axis of {x.shape[-1]} into {n} equal parts")
    return tuple(part.copy() for part in np.split(x, n, axis=-1))


@op
def join(parts):
    """Put arrays side by side along the last axis: what split takes apart.

    parts: n arrays (..., C) -> (..., n * C). Raises ValueError when there are none or their shapes differ.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) != 1:
        raise ValueError(f"join needs one part or more, all of one shape, got {sorted(shapes)}")
    return np.concatenate(parts, axis=-1)
