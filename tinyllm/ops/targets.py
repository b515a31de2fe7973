"""Choose what a model should write after each token."""

import numpy as np

from tinyllm.ops.loss import IGNORED
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("targets",), grads=(), shapes="rows (B, n), begins (B), ends (B)")
def answer_targets(rows: Array, begins: Array, ends: Array) -> Array:
    """Return what a model should write after each token, if only the answer in each row counts.

    rows (B, T + 1) ints; begins, ends (B,) ints, the positions of the answer's first token, and of the first
    token after it -> targets (B, T): rows[b, t + 1] if begins[b] <= t + 1 < ends[b], and else -100.
    """
    place = np.arange(1, rows.shape[1])
    inside = (begins[:, None] <= place) & (place < ends[:, None])
    return np.where(inside, rows[:, 1:], IGNORED)
