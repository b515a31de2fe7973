"""The kernels' own exp, log, tanh, sigmoid: errors in ulp, special values, the same bits wherever computed.

A short form of verify_approx.py, which looks at every float there is.
"""

import math

import numpy as np
import pytest

from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")

EXACT = {"exp": np.exp, "log": np.log, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}
ULPS = {"exp": 1.1, "log": 0.9, "tanh": 1.5, "sigmoid": 2.5}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 2**-149, -(2**-149), 2**-126, 3.4e38, -3.4e38, 88.7228,
           88.7229, -87.3365, -103.972, -103.973, -104, 89, 0.6, 0.59999996, 0.99999994, 1.0000001, 2**-0.5]


def inputs():
    """Every exponent and sign, the interval where most of a model's numbers lie, and the special values."""
    anything = Random(0, "floats").bits(1_000_000).astype(np.uint32).view(np.float32)
    usual = np.linspace(-105, 90, 500_001).astype(np.float32)
    close = np.linspace(-4, 4, 500_001).astype(np.float32)
    return np.concatenate([np.array(SPECIAL, np.float32), anything, usual, close])


def ulps(y, exact):
    """The distance of float32 y from the float64 truth, in steps between neighbouring float32 numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        rounded = exact.astype(np.float32)
        error = np.abs(y - exact) / np.spacing(np.abs(rounded))
    same = (y == rounded) | (np.isnan(y) & np.isnan(exact))
    return np.where(np.isfinite(rounded) & np.isfinite(y), error, np.where(same, 0, np.inf))


@pytest.fixture
def level():
    """Whatever a test chooses, the best level is back afterwards."""
    yield _compiled.use_level
    _compiled.use_level()


@pytest.mark.parametrize("name", EXACT)
def test_error_is_below_its_bound_on_all_kinds_of_floats(name):
    x = inputs()
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
    error = ulps(getattr(_compiled, name)(x), exact)
    assert error.max() <= ULPS[name], f"{error.max()} ulp at {x[error.argmax()]}"


@pytest.mark.parametrize("name", EXACT)
def test_every_level_gives_the_same_bits(name, level):
    x = inputs()
    results = []
    for which in _compiled.levels():
        level(which)
        results.append(getattr(_compiled, name)(x))
    for y in results[1:]:
        np.testing.assert_array_equal(np.isnan(y), np.isnan(results[0]))
        number = ~np.isnan(y)
        assert y[number].tobytes() == results[0][number].tobytes()


@pytest.mark.parametrize("name", [*EXACT, "gelu", "gelu_tanh", "silu"])
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
    assert all(math.isnan(one(name, math.nan)) for name in (*EXACT, "gelu", "gelu_tanh", "silu"))


def test_results_too_small_for_normal_numbers_are_subnormal_not_zero():
    assert one("exp", -100) == pytest.approx(math.exp(-100), abs=2**-149)
    assert one("exp", -103.9) == 2**-149
    assert one("log", 2**-149) == pytest.approx(-149 * math.log(2), rel=1e-7)
    assert one("tanh", 2**-149) == 2**-149


def test_gelu_and_silu_keep_their_digits_far_below_zero():
    """Where 1 + erf and 1 + tanh have lost them all."""
    x = np.linspace(-12, -4, 1000).astype(np.float32)
    wide = x.astype(np.float64)
    gelu = wide * np.array([math.erfc(-v / 2**0.5) / 2 for v in wide])
    np.testing.assert_allclose(_compiled.gelu(x), gelu, rtol=5e-7)
    np.testing.assert_allclose(_compiled.silu(x), wide / (1 + np.exp(-wide)), rtol=5e-7)
