"""Measure the errors of exp, log, tanh and the functions built on them; check their limits and bits.

An error is in ulp, the distance between neighbouring floats at the exact result. The bounds are the largest
errors over all 2**32 floats, or, for sigmoid, over every sixteenth of them.
"""

import math

import numpy as np
import pytest

from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")


def exact_gelu(x):
    """Return x erfc(-x / sqrt 2) / 2; call Python's slow erfc only where no limit is exact in float64."""
    y = np.where(np.abs(x) < 2.0**-26, 0.5 * x + x * x * (2 * math.pi) ** -0.5, np.maximum(x, 0))
    middle = (np.abs(x) >= 2.0**-26) & (np.abs(x) < 40)
    y[middle] = [0.5 * v * math.erfc(-v * math.sqrt(0.5)) for v in x[middle].tolist()]
    return y


def times_logistic(x, u):
    """Return x / (1 + exp(-u)), and its limit 0 for x = -inf."""
    return np.where(x == -np.inf, 0, x) / (1 + np.exp(-u))


def rsqrt(x):
    """Return 1 / sqrt(x * x) as the kernels of norms do: by rmsnorm of rows of one number, without eps."""
    return _compiled.rmsnorm(x[:, None], np.ones(1, np.float32), 0.0)[1]


FUNCTIONS = {  # (kernel, exact function in float64, largest error in ulp)
    "exp": (_compiled.exp, np.exp, 1.02),
    "log": (_compiled.log, np.log, 0.83),
    "tanh": (_compiled.tanh, np.tanh, 1.34),
    "sigmoid": (_compiled.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 2.3),
    "silu": (_compiled.silu, lambda x: times_logistic(x, x), 3.4),
    "gelu": (_compiled.gelu, exact_gelu, 6.1),
    "gelu_tanh": (_compiled.gelu_tanh,
                  lambda x: times_logistic(x, math.sqrt(8 / math.pi) * (x + 0.044715 * x**3)), 214),
    "rsqrt": (rsqrt, lambda x: 1 / np.sqrt((x.astype(np.float32) ** 2).astype(float)), 1.5),
} if _compiled else {}
LIMITS = {  # argument -> result, which must be exact
    "exp": {-math.inf: 0, math.inf: math.inf, 0: 1, -105: 0, 88.73: math.inf, -103.9: 2**-149},
    "log": {0: -math.inf, math.inf: math.inf, 1: 0, -1: math.nan, -math.inf: math.nan},
    "tanh": {math.inf: 1, -math.inf: -1, -0.0: -0.0, 2**-149: 2**-149},
    "sigmoid": {math.inf: 1, -math.inf: 0},
    "gelu": {-0.0: -0.0}, "gelu_tanh": {-0.0: -0.0}, "silu": {-0.0: -0.0},
}


def ulps(y, exact):
    """Return errors in ulp; the error of a wrong infinity or NaN is infinite."""
    rounded = exact.astype(np.float32)
    spacing = np.exp2(np.frexp(np.maximum(np.abs(exact), 2.0**-126))[1] - 24)
    error = np.abs(y - exact) / spacing
    error = np.where(np.isinf(y) | np.isinf(rounded), np.where(y == rounded, 0, np.inf), error)
    return np.where(np.isnan(y) | np.isnan(exact), np.where(np.isnan(y) & np.isnan(exact), 0, np.inf), error)


def bits(y):
    """Return the bytes of an array, with the same bits for all NaN."""
    return np.where(np.isnan(y), np.float32(np.nan), y).tobytes()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_keep_their_bounds_with_the_same_bits_at_every_level_and_place(name):
    """Try floats with random bits, and some from -12 to -4, where 1 + erf has lost all digits."""
    words = (Random("floats", name).bits(1 << 16) >> np.uint64(32)).astype(np.uint32)
    x = np.concatenate([words.view(np.float32), np.linspace(-12, -4, 1000, dtype=np.float32)])
    kernel, exact, bound = FUNCTIONS[name]
    y = kernel(x)
    with np.errstate(all="ignore"):
        errors = ulps(y, exact(x.astype(float)))
    assert errors.max() <= bound, f"{errors.max()} ulp at {x[errors.argmax()]}"
    for level in _compiled.levels():
        _compiled.use_level(level)
        for part in (slice(None), slice(1, 1), slice(3, 4), slice(5, 20), slice(7, 23), slice(19, 52)):
            assert bits(kernel(x[part])) == bits(y[part]), (level, part)
    _compiled.use_level(None)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_zeros_and_the_smallest_numbers_are_exact(name):
    given = np.array([*LIMITS[name], math.nan], np.float32)
    y, wanted = FUNCTIONS[name][0](given), np.array([*LIMITS[name].values(), math.nan], np.float32)
    assert bits(y) == bits(wanted), y
