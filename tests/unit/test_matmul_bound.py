"""Check that every output of a matrix product keeps its error bound: cancelling, tiny, huge, NaN, infinite.

An output is a chain of fused multiply-adds over each block of DEPTH terms, then the blocks are added, then
the bias. So no term is rounded more than t = min(K, DEPTH) + blocks - 1 + (1 with a bias) times, and (Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1)

    |err| <= c eps (sum |a| |b| + |bias|) + t 2**-150 (underflow),   c = t / (1 - t eps),   eps = 2**-24.

In bf16 both operands are rounded first, each by at most 2**-8 of itself, so c eps becomes
2 2**-8 + 2**-16 + c eps (1 + 2**-8)**2, and numbers below 2**-126 may be taken for 0. Where a product is NaN
or infinite, or infinities meet, the result must be what IEEE 754 says. Outputs whose sum |a| |b| is beyond
float32 are not judged.
"""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from tinyllm import ops
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")

EPS = 2.0**-24
DEPTH = int(re.search(r"\bDEPTH = (\d+)", (Path(__file__).parents[2] / "csrc/matmul.c").read_text()).group(1))
LARGEST = float(np.finfo(np.float32).max)
SHAPES = [(1, 1, 1), (1, 40, 385), (5, 17, 7), (13, 31, 384), (9, 40, 800), (30, 20, 400), (97, 70, 50)]


def normal(random, rows, columns, depth):
    """Draw a (rows, depth), b (depth, columns) and a bias (columns,)."""
    return random.normal((rows, depth)), random.normal((depth, columns)), random.normal((columns,))


def scaled(random, rows, columns, depth):
    """Draw a separate exponent for every number, from 2**-60 to 2**59."""
    arrays = normal(random, rows, columns, depth)
    return tuple(x * np.exp2(random.integers(120, x.shape) - 60) for x in arrays)


def cancelling(random, rows, columns, depth):
    """Let the second half of the terms undo the first, but for the last bits."""
    a, b, bias = normal(random, rows, columns, depth)
    half = depth // 2
    a[:, half : 2 * half] = -a[:, :half] * (1 + 1e-6 * random.normal((rows, half)))
    b[half : 2 * half] = b[:half]
    return a, b, bias * 1e-6


def tiny(random, rows, columns, depth):
    """Draw subnormal operands, and operands with subnormal products."""
    a, b, bias = normal(random, rows, columns, depth)
    a[:, ::2] *= 2.0**-130
    a[:, 1::2] *= 2.0**-70
    b[1::2] *= 2.0**-72
    return a, b, bias * 2.0**-140


def large(random, rows, columns, depth):
    """Draw products near the largest float, some sums beyond it."""
    a, b, bias = normal(random, rows, columns, depth)
    return a * 2.0**57, b * 2.0**60, bias * 2.0**120


def special(random, rows, columns, depth):
    """Put NaN, infinities and zeros anywhere, corners included."""
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38])
    arrays = normal(random, rows, columns, depth)
    for x in arrays:
        places = random.integers(60 + x.size // 4, x.shape) == 0
        x[places] = values[random.integers(len(values), int(places.sum()))]
        if random.uniform() < 0.2:
            x.flat[0 if random.uniform() < 0.5 else -1] = values[int(random.integers(3, 1)[0])]
    return arrays


def case(family, shape):
    with np.errstate(all="ignore"):
        arrays = family(Random("case", family.__name__, *shape), *shape)
        return tuple(np.asarray(x, np.float32) for x in arrays)


def sizes(x):
    """Return the absolute values in float64, and 0 in place of NaN and infinities."""
    return np.where(np.isfinite(x), np.abs(x), 0).astype(np.float64)


@np.errstate(all="ignore")
def truth(a, b, bias):
    """Return the sums in float64, whose own error is 2**-29 of the bound, and the sums of absolute values."""
    exact = a.astype(np.float64) @ b.astype(np.float64) + bias
    return exact, sizes(a) @ sizes(b) + sizes(bias)


def bound(a, b, size, rounded):
    """Return the largest error that is allowed for each output."""
    depth = a.shape[1]
    t = min(depth, DEPTH) + max(0, -(-depth // DEPTH) - 1) + 1
    c = t / (1 - t * EPS)
    if not rounded:
        return (c * EPS + 2.0**-40) * size + t * 2.0**-150
    small, a, b = 2.0**-126, sizes(a), sizes(b)
    lost = (a + small) @ (b + small) - a @ b + t * small
    return (2 * 2.0**-8 + 2.0**-16 + c * EPS * (1 + 2.0**-8) ** 2) * size + np.abs(lost) * 1.01


def wrong_outputs(y, a, b, expected, rounded=False):
    """Count the outputs of a product that are further from the truth than the bound allows."""
    exact, size = expected
    with np.errstate(all="ignore"):
        allowed = bound(a, b, size, rounded)
        right = (y == exact) | (np.isnan(y) & np.isnan(exact))
        right |= np.isfinite(y) & (np.abs(y - exact) <= allowed)
    return int(np.sum(~right & (size + allowed < LARGEST)))


def products(a, b, bias):
    """Yield products, and whether a bias was added: one of linear, four of matmul with operands turned."""
    yield ops.linear(a, b, bias), True
    for turn_a, turn_b in itertools.product((False, True), repeat=2):
        left, right = a.T.copy() if turn_a else a, b.T.copy() if turn_b else b
        yield ops.matmul(left, right, turn_a, turn_b), False


@pytest.mark.parametrize("backend", ["compiled", "bf16"])
@pytest.mark.parametrize("family", [normal, scaled, cancelling, tiny, large, special])
def test_products_keep_their_bounds(family, backend):
    """In float32 all levels have the same bits, as test_kernels shows; in bf16 they may differ."""
    for shape in SHAPES:
        a, b, bias = case(family, shape)
        expected = {True: truth(a, b, bias), False: truth(a, b, np.zeros_like(bias))}
        for level in _compiled.levels() if backend == "bf16" else [None]:
            _compiled.use_level(level)
            with ops.use(matmul=backend), np.errstate(all="ignore"):
                for y, with_bias in products(a, b, bias):
                    assert not wrong_outputs(y, a, b, expected[with_bias], backend == "bf16"), (shape, level)
    _compiled.use_level(None)


def corner(y):
    return np.eye(*y.shape) > 0


SLIPS = {  # the family of numbers, and what a kernel would do to them
    "a term is left out": (normal, lambda a, b, bias: a[:, :-1] @ b[:-1] + bias),
    "the bias is left out": (normal, lambda a, b, bias: a @ b),
    "operands in half precision": (
        normal, lambda a, b, bias: a.astype(np.float16).astype(np.float32) @ b + bias),
    "one output has other bits far up": (
        normal, lambda a, b, bias: (a @ b + bias) * (1 + 1e-4 * corner(a @ b))),
    "NaN": (normal, lambda a, b, bias: np.where(corner(a @ b), np.nan, a @ b + bias)),
    "subnormal numbers flushed": (
        tiny, lambda a, b, bias: np.where(np.abs(a @ b + bias) < 2.0**-126, 0, a @ b + bias)),
    "NaN and infinity lost": (special, lambda a, b, bias: np.nan_to_num(a @ b + bias, posinf=0, neginf=0)),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_outside_of_the_bound(slip):
    family, wrong = SLIPS[slip]
    a, b, bias = case(family, (20, 25, 30))
    expected = truth(a, b, bias)
    with np.errstate(all="ignore"):
        assert wrong_outputs(a @ b + bias, a, b, expected) == 0
        assert wrong_outputs(wrong(a, b, bias).astype(np.float32), a, b, expected) > 0
