"""Set those weights of a model to 0 that matter least."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(grads=(), shapes="w (I, O), norms (I)")
def prune_n_m(w: Array, norms: Array, n: int, m: int) -> Array:
    """Keep the n best of each m weights, and set the others to 0; some GPUs are faster with 2 of 4.

    w (I, O); norms (I,), the sizes of the inputs, or ones -> (I, O). The inputs of each output are cut into
    groups of m in a row; the last group may be smaller. In a group stay the n largest |w[i, o]| norms[i], of
    equal ones the first. Raises ValueError unless m >= 1 and 0 <= n <= m. (Sun et al., "Wanda", 2024.)
    """
    if not 0 <= n <= m or m < 1:
        raise ValueError(f"prune_n_m keeps n of m weights, 0 <= n <= m, got n = {n} and m = {m}")
    pruned, scores = np.zeros(w.shape, w.dtype), np.abs(w) * norms[:, None]
    for begin in range(0, len(w), m):
        group = slice(begin, begin + m)
        kept = np.argsort(-scores[group], axis=0, kind="stable")[:n]
        np.put_along_axis(pruned[group], kept, np.take_along_axis(w[group], kept, axis=0), axis=0)
    return pruned
