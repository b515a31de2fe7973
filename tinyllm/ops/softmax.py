"""Compute softmax and its logarithm over the last axis.

For a row that is all -inf (every token masked), the softmax is defined as 0 and its log-sum-exp as -inf, so
that a query that sees no key gets 0. The result of a row with +inf or NaN is NaN.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


def row_max(x: Array) -> Array:
    """Return each row's largest score (..., 1), or 0 for a row of -inf, where x - max would be NaN."""
    m = x.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.where(m == -np.inf, 0, m)


def logsumexp(x: Array) -> Array:
    """Return the logarithm of the sum of each row's exponentials: x (..., n) -> (...)."""
    m = row_max(x)
    with np.errstate(divide="ignore"):  # log(0) = -inf is right for a masked row
        return (m + np.log(np.exp(x - m).sum(axis=-1, keepdims=True)))[..., 0]


@op(flops=4)
def softmax(x: Array) -> Array:
    """Turn scores into probabilities along the last axis: y_i = exp(x_i) / sum_j exp(x_j).

    x (..., n) -> y (..., n); every y >= 0, every row sums to 1 (to 0 where all of x is -inf). The largest
    score is subtracted first: this does not change the quotient, and exp can no longer overflow.
    """
    e = np.exp(x - row_max(x))
    # The largest score adds exp(0) = 1, so only a masked row sums to less; dividing by 1 leaves its zeros.
    return e / np.maximum(e.sum(axis=-1, keepdims=True), 1)


@op(shapes="dy (...), y (...)")
def softmax_backward(dy: Array, y: Array) -> Array:
    """Compute dx_i = y_i (dy_i - sum_j dy_j y_j), softmax's gradient: dy, y (..., n) -> dx (..., n)."""
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


@op(flops=5)
def log_softmax(x: Array) -> Array:
    """Turn scores into log-probabilities along the last axis: y_i = x_i - log sum_j exp(x_j).

    x (..., n) -> y (..., n); exp(y) sums to 1. A row of nothing but -inf stays -inf.
    """
    m = row_max(x)
    total = np.exp(x - m).sum(axis=-1, keepdims=True)
    return x - m - np.log(np.maximum(total, 1))  # as in softmax: only a masked row sums to less than 1


@op(shapes="dy (...), y (...)")
def log_softmax_backward(dy: Array, y: Array) -> Array:
    """Compute dx_i = dy_i - exp(y_i) sum_j dy_j, log_softmax's gradient: dy, y (..., n) -> dx (..., n)."""
    return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)
