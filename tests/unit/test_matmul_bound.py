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


def scaled(random, x, at):
    """Give every number an exponent of its own, from 2**-60 to 2**59."""
    return x * np.exp2(random.integers(120, x.shape) - 60)


def cancelling(random, x, at):
    """Let the second half of the terms undo the first, but for the last bits."""
    if at == "bias":
        return x * 1e-6
    terms = np.moveaxis(x, 1 if at == "a" else 0, 0)
    half = len(terms) // 2
    sign = -1 - 1e-6 * random.normal(terms[:half].shape) if at == "a" else 1
    terms[half : 2 * half] = sign * terms[:half]
    return x


def tiny(random, x, at):
    """Make subnormal operands, and operands with subnormal products."""
    small = {"a": [2.0**-130, 2.0**-70], "b": [1, 2.0**-72], "bias": [2.0**-140]}[at]
    factors = np.resize(small, x.shape[1 if at == "a" else 0])
    return x * (factors[None] if at == "a" else factors[:, None] if at == "b" else factors)


def large(random, x, at):
    """Make products near the largest float, some sums beyond it."""
    return x * {"a": 2.0**57, "b": 2.0**60, "bias": 2.0**120}[at]


def special(random, x, at):
    """Put NaN, infinities and zeros anywhere, corners included."""
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38])
    places = random.integers(60 + x.size // 4, x.shape) == 0
    places.flat[[0, -1]] |= random.uniform((2,)) < 0.1
    x[places] = values[random.integers(len(values), int(places.sum()))]
    return x


FAMILIES = {family.__name__: family for family in (scaled, cancelling, tiny, large, special)}


def case(name, rows, columns, depth):
    """Draw a (rows, depth), b (depth, columns) and a bias (columns,)."""
    random = Random("case", name, rows, columns, depth)
    shapes = {"a": (rows, depth), "b": (depth, columns), "bias": (columns,)}
    with np.errstate(all="ignore"):
        return [np.asarray(FAMILIES[name](random, random.normal(shape).astype(float), at), np.float32)
                for at, shape in shapes.items()]


def sizes(x):
    """Return the absolute values in float64, and 0 in place of NaN and infinities."""
    return np.where(np.isfinite(x), np.abs(x), 0).astype(np.float64)


@np.errstate(all="ignore")
def wrong_outputs(y, a, b, bias, rounded=False):
    """Count the outputs of a product that are further from the sums in float64 than the bound allows."""
    exact, size = a.astype(np.float64) @ b.astype(np.float64) + bias, sizes(a) @ sizes(b) + sizes(bias)
    t = min(a.shape[1], DEPTH) + max(0, -(-a.shape[1] // DEPTH) - 1) + 1
    c = t / (1 - t * EPS)
    allowed = (c * EPS + 2.0**-40) * size + t * 2.0**-150
    if rounded:
        small, a, b = 2.0**-126, sizes(a), sizes(b)
        lost = (a + small) @ (b + small) - a @ b + t * small
        allowed = (2 * 2.0**-8 + 2.0**-16 + c * EPS * (1 + 2.0**-8) ** 2) * size + np.abs(lost) * 1.01
    right = (y == exact) | (np.isnan(y) & np.isnan(exact)) | (np.isfinite(y) & (np.abs(y - exact) <= allowed))
    return int(np.sum(~right & (size + allowed < LARGEST)))


@pytest.mark.parametrize("backend", ["compiled", "bf16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_products_keep_their_bounds(name, backend):
    """Operands are turned or not. In float32 all levels have the same bits; in bf16 they may differ."""
    for shape, level in itertools.product(SHAPES, _compiled.levels() if backend == "bf16" else [None]):
        a, b, bias = case(name, *shape)
        _compiled.use_level(level)
        with ops.use(matmul=backend), np.errstate(all="ignore"):
            assert not wrong_outputs(ops.linear(a, b, bias), a, b, bias, backend == "bf16"), (shape, level)
            for turn_a, turn_b in itertools.product((False, True), repeat=2):
                y = ops.matmul(a.T.copy() if turn_a else a, b.T.copy() if turn_b else b, turn_a, turn_b)
                assert not wrong_outputs(y, a, b, np.zeros_like(bias), backend == "bf16"), (shape, level)
    _compiled.use_level(None)


SLIPS = {  # a family of numbers, and what a kernel would do to them
    "a term is left out": ("scaled", lambda a, b, bias: a[:, :-1] @ b[:-1] + bias),
    "the bias is left out": ("scaled", lambda a, b, bias: a @ b),
    "subnormal numbers are flushed": (
        "tiny", lambda a, b, bias: np.where(np.abs(a @ b + bias) < 2.0**-126, 0, a @ b + bias)),
    "operands in half precision": ("cancelling", lambda a, b, bias: a.astype("f2").astype("f4") @ b + bias),
    "an output has other bits far up": ("scaled", lambda a, b, bias: (a @ b + bias) * (1 + 1e-4)),
    "NaN and infinity are lost": (
        "special", lambda a, b, bias: np.nan_to_num(a @ b + bias, posinf=0, neginf=0)),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_outside_of_the_bound(slip):
    name, wrong = SLIPS[slip]
    given = a, b, bias = case(name, 20, 25, 30)
    with np.errstate(all="ignore"):
        assert wrong_outputs(a @ b + bias, *given) == 0
        assert wrong_outputs(wrong(*given).astype(np.float32), *given) > 0
