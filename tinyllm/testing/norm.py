"""Provide test cases, common mistakes and correct variants for layernorm and rmsnorm."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import rmsnorm_backward
from tinyllm.ops.shapes import rows
from tinyllm.testing.arrays import CASES, MODEST, USUAL, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, bound, largest, mean, of_terms
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME
from tinyllm.testing.relations import declared_cases

widths = sizes.map(lambda n: n or 1)
epsilons = st.sampled_from((1e-5, 1e-6, 0.1))


ROWS = (*USUAL, "far from zero")  # in a row that is constant or far from zero, digits are lost
CASES |= {"layernorm": declared_cases("layernorm", {"C": widths}, x=ROWS, w=MODEST, b=MODEST, eps=epsilons),
          "rmsnorm": declared_cases("rmsnorm", {"C": widths}, w=MODEST, eps=epsilons)}


@bound("layernorm")
def layernorm_bound(args, results):
    """Bound the float32 errors of y, mean and rstd = 1 / sqrt(var + eps).

    The error of x - mean is e = (C + 4) * 2^-23 * max |x|. In a constant row of huge numbers, e is larger
    than the standard deviation; then y is bounded by |x - mean| rstd, which is at most sqrt(C).
    """
    x, w, b, _ = args
    y, center, rstd = results
    C = x.shape[-1]
    e = EPS * (4 + C) * largest(x)
    normal = (x - center[..., None]) * rstd[..., None]
    relative = e * rstd[..., None] + EPS * (C + 8)
    off = np.minimum(e * rstd[..., None] + np.abs(normal) * relative * (1 + relative), 2 * C**0.5)
    return (np.abs(w) * off + 4 * EPS * (np.abs(y) + np.abs(b)) + TINY, e[..., 0] + TINY,
            np.minimum(relative[..., 0], 1) * rstd)


@bound("layernorm_backward")
def layernorm_backward_bound(args, results):
    """Bound the float32 errors of dx, dw and db, where x - mean may lose digits."""
    dy, x, w, center, rstd = args
    center, rstd, C, N = center[..., None], rstd[..., None], x.shape[-1], len(rows(x))
    normal = np.abs(x - center) * rstd
    off = 2 * EPS * (np.abs(x) + np.abs(center)) * rstd  # the error of the normalised x
    dn = np.abs(dy * w)
    dx = EPS * (C + 8) * (dn + mean(dn) + normal * mean(dn * normal))
    dx = (dx + off * mean(dn * normal) + normal * mean(dn * off)) * rstd
    dw = (EPS * (N + 4) * rows(np.abs(dy) * normal) + rows(np.abs(dy) * off)).sum(axis=0)
    return dx + TINY, dw + TINY, EPS * (N + 1) * rows(np.abs(dy)).sum(axis=0) + TINY


BOUNDS |= {
    "rmsnorm": of_terms(lambda results, x, *_: tuple((x.shape[-1] + 8) * np.abs(y) for y in results)),
    "rmsnorm_backward": lambda args, results: layernorm_backward_bound(  # with the mean 0
        (*args[:3], 0 * args[3], args[3]), results)[:2],
}

VARIANCE = "((x - mean) ** 2).mean(axis=-1, keepdims=True)"
DN_MEANS = "dn - dn.mean(axis=-1, keepdims=True) - normal * (dn * normal).mean(axis=-1, keepdims=True)"

mistake("layernorm", "the variance divided by C - 1, not by C", VARIANCE,
        "((x - mean) ** 2).sum(axis=-1, keepdims=True) / max(x.shape[-1] - 1, 1)")
mistake("layernorm", "the variance as mean(x^2) - mean(x)^2, which cancels when the mean is large", VARIANCE,
        "(x * x).mean(axis=-1, keepdims=True) - mean * mean", breaks=EXTREME)
mistake("layernorm", "normalised rows without the learnt weight and bias", "(x - mean) * rstd * w + b",
        "(x - mean) * rstd")
mistake("layernorm_backward", "a gradient that takes mean and rstd for constants", DN_MEANS, "dn")
mistake("layernorm_backward", "a gradient that takes rstd for a constant: its last term is missing", DN_MEANS,
        "dn - dn.mean(axis=-1, keepdims=True)")
mistake("rmsnorm", "the standard deviation, which is taken around the mean, for the root mean square",
        "(x**2).mean(axis=-1, keepdims=True)", "x.var(axis=-1, keepdims=True)")
mistake("rmsnorm_backward", "dn with its mean taken away too, as layernorm does",
        "dn - normal * (dn * normal).mean(axis=-1, keepdims=True)",
        "dn - dn.mean(axis=-1, keepdims=True) - normal * (dn * normal).mean(axis=-1, keepdims=True)")


@variant("layernorm")
def layernorm_by_var(x, w, b, eps=1e-5):
    mean = x.mean(-1)
    rstd = 1 / np.sqrt(x.var(-1) + x.dtype.type(eps))
    return ((x.T - mean.T) * rstd.T).T * w + b, mean, rstd


@variant("rmsnorm")
def rmsnorm_by_float64(x, w, eps=1e-5):
    wide = x.astype(np.float64)
    rms = np.sqrt(np.square(wide).mean(axis=-1, keepdims=True) + eps)
    return (wide / rms * w).astype(x.dtype), (1 / rms[..., 0]).astype(x.dtype)


@variant("layernorm_backward")
def layernorm_backward_by_rmsnorm(dy, x, w, mean, rstd):
    dx, dw = rmsnorm_backward(dy, x - mean[..., None], w, rstd)
    return dx - dx.mean(axis=-1, keepdims=True), dw, rows(dy).sum(axis=0)


variant("rmsnorm_backward")(lambda dy, x, w, rstd: (
    rstd[..., None] * dy * w - x * (rstd**3 * (dy * w * x).mean(axis=-1))[..., None],
    np.einsum("nc,nc,n->c", rows(dy), rows(x), rstd.reshape(-1))))
