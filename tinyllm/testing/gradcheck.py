"""Prove every backward by finite differences: the first link of the chain of trust.

Along one random direction u, the slope of <dy, f(x + h u)> at h = 0 must be <dx, u>, where dx is what the
backward returns for dy. One direction tests all partial derivatives at once: a wrong one could hide only by
chance.
"""

import numpy as np

from tinyllm.ops import OPS
from tinyllm.rng import Random
from tinyllm.testing.check import widen
from tinyllm.testing.relations import (
    SHARED,
    SUFFIX,
    backward_args,
    bind,
    differentiable,
    graded,
    run_spec,
    specs_only,
)

STEP = 1e-3
# Central differences over +-1 and +-2 steps (weights 8/12 and -1/12): the error is of the order of STEP^4.
STENCIL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))


def gradcheck(name, args, backward=None, seed=0):
    """Measure how far an op's backward is from the slope of its forward, in float64.

    args: a case of the forward op, of which only shapes, integers and flags count, for the inputs to
    differentiate are drawn anew from the normal distribution; backward: the function on trial, or else the
    specification -> the relative error, a float, about 1e-10 when the backward is right.
    """
    rng = Random(seed, "gradcheck", name)
    known = {key: widen(value) for key, value in bind(name, args).items()}
    moving = [key for key in differentiable(name) if known[key] is not None]
    shared = SHARED.get(name, {})
    point = {key: normal(rng, known[key].shape) for key in (*moving, *shared)}
    direction = {key: normal(rng, x.shape) for key, x in point.items()}

    def forward(h):
        moved = {key: x + h * direction[key] for key, x in point.items()}
        return run_spec(name, tuple((known | moved).values()))

    result = forward(0)
    dys = tuple(normal(rng, y.shape) for y in graded(name, result))
    ahead = [graded(name, forward(step * STEP)) for step, _ in STENCIL]
    weights = [weight / STEP for _, weight in STENCIL]
    slopes = [sum(w * y for w, y in zip(weights, ys, strict=True)) for ys in zip(*ahead, strict=True)]
    with specs_only():
        gradients = (backward or OPS[name + SUFFIX].reference)(
            *backward_args(name, tuple((known | point).values()), result, *dys))
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    found = dict(zip(moving, gradients, strict=False))
    found |= {key: found[other] for key, other in shared.items()}
    if any(dx.shape != point[key].shape for key, dx in found.items()):
        return np.inf  # a gradient has the shape of its input
    analytic = sum(np.sum(dx * direction[key]) for key, dx in found.items())
    # Terms of <dy, slope> may cancel, and then so do their rounding errors: measure against their sizes.
    terms = [dy * slope for dy, slope in zip(dys, slopes, strict=True)]
    size = max(sum(np.sum(np.abs(term)) for term in terms), np.abs(analytic), 1e-30)
    return float(np.abs(sum(np.sum(term) for term in terms) - analytic) / size)


def normal(rng, shape):
    """Draw float64 numbers from the normal distribution."""
    return rng.normal(shape).astype(np.float64)
