"""Cases of softmax and log_softmax."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import leading, scores, sizes
from tinyllm.testing.bounds import EPS, TINY, largest


@st.composite
def rows_of_scores(draw):
    """Rows of scores of which none, some or all are masked."""
    return (scores(draw, (*draw(leading), draw(sizes)), shares=(0, 0, 0.4, 1)),)


def softmax_bound(args, results):
    """x - max, or x - lse, is rounded on the scale of x, and exp turns that into a relative error."""
    (x,), (y,) = args, results
    return (y * EPS * (8 + x.shape[-1] + 2 * largest(x)) + TINY,)


def softmax_backward_bound(args, results):
    """The formula with every term made positive."""
    dy, y = args
    n = y.shape[-1]
    return (EPS * (4 + n) * y * (np.abs(dy) + (np.abs(dy) * y).sum(-1, keepdims=True)) + TINY,)


def log_softmax_bound(args, results):
    """x, its maximum and the logarithm are rounded on the scale of x."""
    (x,) = args
    return (np.broadcast_to(EPS * (8 + x.shape[-1] + 4 * largest(x)), x.shape),)


def log_softmax_backward_bound(args, results):
    """exp(y) has the relative error of y's own rounding."""
    dy, y = args
    p = np.exp(y) * (1 + np.where(np.isfinite(y), np.abs(y), 0))
    return (EPS * (4 + y.shape[-1]) * (np.abs(dy) + p * np.abs(dy).sum(-1, keepdims=True)) + TINY,)


CASES = {"softmax": rows_of_scores(), "log_softmax": rows_of_scores()}
BOUNDS = {
    "softmax": softmax_bound,
    "softmax_backward": softmax_backward_bound,
    "log_softmax": log_softmax_bound,
    "log_softmax_backward": log_softmax_backward_bound,
}
