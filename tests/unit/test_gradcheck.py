"""Compare every backward op with finite differences in float64, and check that wrong ones are noticed.

The backward op computes dx from dy. For a random direction u, <dx, u> must equal the slope of
<dy, f(x + h u)> at h = 0. One direction tests all partial derivatives; wrong ones pass only by chance.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.ops import OPS
from tinyllm.rng import Random
from tinyllm.testing import CASES, MISTAKES
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import widen
from tinyllm.testing.relations import FORWARDS, SUFFIX, backward_args, bind, first, run_spec, specs_only

STEP = 1e-3
# Central differences over +-1 and +-2 steps (weights 8/12 and -1/12): the error is of the order of STEP^4.
STENCIL = ((1, 8 / 12), (-1, -8 / 12), (2, -1 / 12), (-2, 1 / 12))

WITH_KINKS = ("clipped_loss", "value_loss")


def gradcheck(name, args, backward=None, seed=0):
    """Compare the gradients of an op with finite differences in float64; return the relative error.

    A right backward function has an error of about 1e-10.
    args: a case of the forward op; inputs that have gradients are replaced by normal random numbers.
    backward: the function to test, by default the specification of the backward op.
    """
    rng = Random(seed, "gradcheck", name)
    known = {key: widen(value) for key, value in bind(name, args).items()}
    moving = [key for key in OPS[name].grads if known[key] is not None]
    point = {key: normal(rng, known[key].shape) for key in moving}
    direction = {key: normal(rng, x.shape) for key, x in point.items()}

    def forward(h):
        moved = {key: x + h * direction[key] for key, x in point.items()}
        return run_spec(name, tuple((known | moved).values()))

    def slopes(size):
        return sum(weight / size * first(forward(step * size)) for step, weight in STENCIL)

    result, slope = forward(0), slopes(STEP)
    dy = normal(rng, first(result).shape)
    if name in WITH_KINKS:  # where a kink is near, smaller steps give another slope
        dy = np.where(np.abs(slopes(STEP / 2) - slope) < 1e-7 * (1 + np.abs(slope)), dy, 0)
    with specs_only():
        gradients = (backward or OPS[name + SUFFIX].reference)(
            *backward_args(name, tuple((known | point).values()), result, dy))
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    found = dict(zip(moving, gradients, strict=False))
    if any(dx.shape != point[key].shape for key, dx in found.items()):
        return np.inf  # a gradient has the shape of its input
    analytic = sum(np.sum(dx * direction[key]) for key, dx in found.items())
    # Terms of <dy, slope> may cancel, but their rounding errors do not: divide by the sum of their sizes.
    terms = dy * slope
    size = max(np.sum(np.abs(terms)), np.abs(analytic), 1e-30)
    return float(np.abs(np.sum(terms) - analytic) / size)


def normal(rng, shape):
    """Draw a float64 array of normal random numbers."""
    return rng.normal(shape).astype(np.float64)


def test_every_backward_is_proved():
    assert {name for name in OPS if name.endswith(SUFFIX)} == {name + SUFFIX for name in FORWARDS}


@pytest.mark.parametrize("name", FORWARDS)
@given(data=st.data())
def test_the_backward_is_the_gradient_of_the_forward(name, data):
    assert gradcheck(name, data.draw(CASES[name])) < 1e-6


@pytest.mark.parametrize("name", FORWARDS)
def test_a_wrong_gradient_is_noticed(name):
    """Every known mistake must exceed the limit of 1e-6 a hundred times in some case, or raise an error."""

    def is_wrong(args, backward):
        try:
            return gradcheck(name, args, backward) > 1e-4
        except Exception:
            return True

    for said, function in MISTAKES.get(name + SUFFIX, ()):
        if said.endswith("which keeps NaN"):  # of NaN there are no finite differences
            continue
        some = (args for count in (20, 60, 300) for args in draw_cases(name, count))
        assert any(is_wrong(args, function) for args in some), said
