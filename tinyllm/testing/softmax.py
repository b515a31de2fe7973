"""Provide test cases, common mistakes and correct variants for softmax and log_softmax."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import SIZES, USUAL, cases, leading, scores
from tinyllm.testing.bounds import BOUNDS, largest, of_terms
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME, FORM, INFINITE

widths = st.sampled_from((*(n for n in SIZES if n), 130, 300))  # 300 does not fit a kernel's buffer


@cases("softmax", "log_softmax")
def rows_of_scores(draw):
    """Draw rows of scores; none, some or all scores of a row are masked (-inf)."""
    kinds = (*USUAL, "far below zero", "far below zero")
    return (scores(draw, (*draw(leading), draw(widths)), kinds, shares=(0, 0, 0.4, 1)),)


BOUNDS |= {  # exp magnifies the errors of x - max
    "softmax": of_terms(lambda results, x: results[0] * (8 + x.shape[-1] + 2 * largest(x))),
    "softmax_backward": of_terms(lambda _, dy, y: (4 + y.shape[-1]) * y * (
        np.abs(dy) + (np.abs(dy) * y).sum(-1, keepdims=True))),
    "log_softmax": of_terms(lambda _, x: np.broadcast_to(8 + x.shape[-1] + 4 * largest(x), x.shape)),
    "log_softmax_backward": of_terms(lambda _, dy, y: (4 + y.shape[-1]) * (
        np.abs(dy) + np.exp(y) * (1 + np.where(np.isfinite(y), np.abs(y), 0))
        * np.abs(dy).sum(-1, keepdims=True))),
}

GUARD = "np.maximum(e.sum(axis=-1, keepdims=True), 1)"
WHOLE = "x - x.max(initial=-np.inf)"

mistake("softmax", "softmax that gives NaN for a row of nothing but -inf, where every token is masked",
        "np.where(m == -np.inf, 0, m)", "m", breaks=INFINITE)
mistake("softmax", "softmax without subtracting the maximum, so that exp overflows", "x - row_max(x)", "x",
        GUARD, "e.sum(axis=-1, keepdims=True)", breaks=EXTREME)
mistake("softmax", "softmax along the first axis", "x - row_max(x)", "x - x.max(axis=0, keepdims=True)",
        GUARD, "e.sum(axis=0, keepdims=True)")
mistake("softmax", "softmax over the whole array, not row by row", "x - row_max(x)", WHOLE, GUARD, "e.sum()")
mistake("softmax", "exponentials divided by the sum of the whole array, not of their row", GUARD, "e.sum()")
mistake("softmax", "softmax that subtracts the maximum of the whole array, so that low rows vanish",
        "x - row_max(x)", WHOLE, GUARD, "e.sum(axis=-1, keepdims=True)", breaks=EXTREME)
mistake("softmax", "x divided by its sum, without exp", "np.exp(x - row_max(x))", "x", GUARD,
        "e.sum(axis=-1, keepdims=True)")
mistake("softmax", "softmax computed in float64 and left there", "", "x = x.astype(np.float64)", breaks=FORM)
mistake("softmax", "softmin: exp(-x), so that the smallest score wins", "", "x = -x")
mistake("softmax_backward", "y (1 - y) dy, only the diagonal of the Jacobian",
        "dy - (dy * y).sum(axis=-1, keepdims=True)", "(1 - y) * dy")
mistake("softmax_backward", "the sum over the row added, where it is subtracted",
        "dy - (dy * y).sum(axis=-1, keepdims=True)", "dy + (dy * y).sum(axis=-1, keepdims=True)")
mistake("softmax_backward", "the sum along the first axis", "(dy * y).sum(axis=-1, keepdims=True)",
        "(dy * y).sum(axis=0, keepdims=True)")
mistake("softmax_backward", "dy - y, the gradient of cross-entropy, not of softmax", "", "return dy - y")
mistake("log_softmax", "log_softmax that gives NaN for a row of nothing but -inf",
        "np.where(m == -np.inf, 0, m)", "m", breaks=INFINITE)
mistake("log_softmax", "the logarithm of softmax, which is -inf where a probability rounds to 0", "",
        "return np.log(softmax(x))", breaks=EXTREME)
mistake("log_softmax", "log_softmax without subtracting the maximum, so that exp overflows", "m = row_max(x)",
        "m = 0", "np.maximum(total, 1)", "total", breaks=EXTREME)
mistake("log_softmax", "the logarithm of the mean of the exponentials, where that of their sum belongs",
        "np.exp(x - m).sum", "np.exp(x - m).mean", "np.maximum(total, 1)", "total")
mistake("log_softmax", "the logarithm to base 2", "x - m - np.log(np.maximum(total, 1))",
        "(x - m - np.log(np.maximum(total, 1))) / 0.6931471805599453")
mistake("log_softmax", "x minus the log of the sum of x, without exp", "",
        "return x - np.log(np.abs(x.sum(axis=-1, keepdims=True)))")


@variant("softmax")
def softmax_by_rows(x):
    y = np.empty_like(x)
    for i in np.ndindex(x.shape[:-1]):
        peak = max((v for v in x[i].tolist() if v > -math.inf), default=0)
        e = [math.exp(v - peak) for v in x[i].tolist()]
        total = sum(e) or 1
        y[i] = [v / total for v in e]
    return y


@variant("softmax")
def softmax_by_float64(x):
    wide = x.astype(np.float64)
    peak = wide.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(wide - np.where(np.isfinite(peak), peak, 0))
    total = e.sum(axis=-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0).astype(x.dtype)


# The Jacobian times dy:
variant("softmax_backward")(lambda dy, y: (
    y[..., None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :]) @ dy[..., None])[..., 0])


@variant("log_softmax")
def log_softmax_by_logaddexp(x):
    total = np.logaddexp.reduce(x, axis=-1, keepdims=True, initial=-np.inf)
    return x - np.where(total == -np.inf, x.dtype.type(0), total.astype(x.dtype))
