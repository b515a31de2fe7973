"""Test exp, log, tanh and what the kernels make of them: errors, special values, equal bits at every place.

A short form of verify_approx.py, which looks at all floats.
"""

import math

import numpy as np
import pytest
from verify_approx import FUNCTIONS, largest_error, ulps

from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")

NAMES = ("exp", "log", "tanh", "sigmoid", "gelu", "gelu_tanh", "silu")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_keep_their_bounds_at_every_level(name):
    """Check numbers of all sizes, made of random bits."""
    words = (Random("floats", name).bits(1 << 16) >> np.uint64(32)).astype(np.uint32)
    error, at = largest_error(name, words.view(np.float32))
    assert error <= FUNCTIONS[name][2], f"{error} ulp at {at}"


def test_a_wrong_number_or_limit_is_an_error():
    exact = np.array([1.0, 2.0**-140, 1e300, np.inf, np.nan, 0.0])
    wrong = np.array([1 + 2.0**-21, 2.0**-139, 3e38, np.nan, 1.0, 2.0**-149], np.float32)
    with np.errstate(all="ignore"):
        assert not ulps(exact.astype(np.float32), exact).any()
        assert ulps(wrong, exact).tolist() == [4, 512, np.inf, np.inf, np.inf, 1]


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_position_in_the_array(name):
    f = getattr(_compiled, name)
    x = Random(0, "positions").normal(70)
    whole = f(x)
    for start in range(20):
        for length in (0, 1, 2, 15, 16, 17, 33):
            assert f(x[start:start + length]).tobytes() == whole[start:start + length].tobytes()


def one(name, x):
    return float(getattr(_compiled, name)(np.array([x], np.float32))[0])


def test_limits_and_zeros_are_exact():
    inf = math.inf
    assert [one("exp", x) for x in (-inf, inf, 0, -105, 88.73)] == [0, inf, 1, 0, inf]
    assert [one("log", x) for x in (0, -0.0, inf, 1)] == [-inf, -inf, inf, 0]
    assert math.isnan(one("log", -1)) and math.isnan(one("log", -inf))
    assert (one("tanh", inf), one("tanh", -inf)) == (1, -1)
    for name in ("tanh", "gelu", "gelu_tanh", "silu"):
        assert math.copysign(1, one(name, -0.0)) == -1 and one(name, -0.0) == 0
    assert all(math.isnan(one(name, math.nan)) for name in NAMES)


def test_results_too_small_for_normal_numbers_are_subnormal_not_zero():
    assert one("exp", -100) == pytest.approx(math.exp(-100), abs=2**-149)
    assert one("exp", -103.9) == 2**-149
    assert one("log", 2**-149) == pytest.approx(-149 * math.log(2), rel=1e-7)
    assert one("tanh", 2**-149) == 2**-149


def test_gelu_and_silu_keep_their_digits_far_below_zero():
    """There, 1 + erf and 1 + tanh have lost all digits."""
    x = np.linspace(-12, -4, 1000).astype(np.float32)
    wide = x.astype(np.float64)
    gelu = wide * np.array([math.erfc(-v / 2**0.5) / 2 for v in wide])
    np.testing.assert_allclose(_compiled.gelu(x), gelu, rtol=5e-7)
    np.testing.assert_allclose(_compiled.silu(x), wide / (1 + np.exp(-wide)), rtol=5e-7)
