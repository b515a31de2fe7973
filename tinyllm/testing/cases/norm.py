"""Cases of layernorm and rmsnorm."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import MODEST, USUAL, floats, leading, sizes
from tinyllm.testing.bounds import EPS, TINY, largest, mean, rows

widths = sizes.map(lambda n: n or 1)
epsilons = st.sampled_from((1e-5, 1e-6, 0.1))


@st.composite
def layernorm(draw):
    """Rows of every kind, also constant ones and ones far from zero, where a variance is easily lost."""
    shape, width = draw(leading), draw(widths)
    w, b = floats(draw, (width,), kinds=MODEST), floats(draw, (width,), kinds=MODEST)
    return floats(draw, (*shape, width), kinds=(*USUAL, "far from zero")), w, b, draw(epsilons)


@st.composite
def rmsnorm(draw):
    """Rows of every kind, and learnt weights."""
    shape, width = draw(leading), draw(widths)
    return floats(draw, (*shape, width)), floats(draw, (width,), kinds=MODEST), draw(epsilons)


def layernorm_bound(args, results):
    """x - mean is off by `e`, on the scale of x. That moves y directly, and through the variance.

    When `e` itself is not small beside the deviation (a constant row of huge numbers), all that is left of
    y is its range: |x - mean| rstd is at most sqrt(C).
    """
    x, w, b, _ = args
    return layernorm_off((x, w, b), results, largest(x))


def layernorm_off(args, results, size):
    """The tolerance of layernorm's results, given the size of what its input was rounded on."""
    x, w, b = args
    y, center, rstd = results
    C = x.shape[-1]
    e = EPS * (4 + C) * size
    normal = (x - center[..., None]) * rstd[..., None]
    relative = e * rstd[..., None] + EPS * (C + 8)
    off = np.minimum(e * rstd[..., None] + np.abs(normal) * relative * (1 + relative), 2 * C**0.5)
    return (np.abs(w) * off + 4 * EPS * (np.abs(y) + np.abs(b)) + TINY, e[..., 0] + TINY,
            np.minimum(relative[..., 0], 1) * rstd)


def layernorm_backward_bound(args, results):
    """The formulas with every term made positive, and the cancellation in x - mean."""
    dy, x, w, center, rstd = args
    center, rstd, C, N = center[..., None], rstd[..., None], x.shape[-1], len(rows(x))
    normal = np.abs(x - center) * rstd
    off = 2 * EPS * (np.abs(x) + np.abs(center)) * rstd  # of normal, whose subtraction cancels
    dn = np.abs(dy * w)
    dx = EPS * (C + 8) * (dn + mean(dn) + normal * mean(dn * normal))
    dx = (dx + off * mean(dn * normal) + normal * mean(dn * off)) * rstd
    dw = (EPS * (N + 4) * rows(np.abs(dy) * normal) + rows(np.abs(dy) * off)).sum(axis=0)
    return dx + TINY, dw + TINY, EPS * (N + 1) * rows(np.abs(dy)).sum(axis=0) + TINY


def rmsnorm_bound(args, results):
    """Nothing cancels: a mean of squares, its root, and two products."""
    C = args[0].shape[-1]
    return tuple(EPS * (C + 8) * np.abs(y) + TINY for y in results)


def rmsnorm_backward_bound(args, results):
    """The formulas with every term made positive."""
    dy, x, w, rstd = args
    rstd, C, N = rstd[..., None], x.shape[-1], len(rows(x))
    normal, dn = np.abs(x) * rstd, np.abs(dy * w)
    dx = EPS * (C + 8) * (dn + normal * mean(dn * normal)) * rstd
    return dx + TINY, EPS * (N + 4) * rows(np.abs(dy) * normal).sum(axis=0) + TINY


CASES = {
    "layernorm": layernorm(),
    "rmsnorm": rmsnorm(),
}
BOUNDS = {
    "layernorm": layernorm_bound,
    "layernorm_backward": layernorm_backward_bound,
    "rmsnorm": rmsnorm_bound,
    "rmsnorm_backward": rmsnorm_backward_bound,
}
