"""Checks the outputs of many matrix products against an error bound: random, cancelling, tiny, NaN, infinite.

    python tests/proofs/verify_matmul.py [--quick]

An output is a chain of fused multiply-adds over each block of DEPTH terms, then the blocks are added, then
the bias. So no term is rounded more than t = min(K, DEPTH) + blocks - 1 + (1 with a bias) times, and (Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1)

    |err| <= c eps (sum |a| |b| + |bias|) + t 2**-150 (underflow),   c = t / (1 - t eps),   eps = 2**-24.

In bf16 both operands are rounded first, each by at most 2**-8 of itself, so c eps becomes
2 2**-8 + 2**-16 + c eps (1 + 2**-8)**2, and numbers below 2**-126 may be taken for 0. The truth is a sum of
exact products in double-double. Where a product is NaN or infinite, or infinities meet, the result must be
what IEEE 754 says. Outputs whose sum |a| |b| is beyond float32 are not judged. Exits with 1 on any violation.
"""

import argparse
import itertools
import re
import sys
from pathlib import Path

import numpy as np

from tinyllm import ops
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

EPS = 2.0**-24
DEPTH = int(re.search(r"\bDEPTH = (\d+)", (Path(__file__).parents[2] / "csrc/matmul.c").read_text()).group(1))
LARGEST = float(np.finfo(np.float32).max)
SHAPES = [(1, 1, 1), (2, 5, 3), (1, 300, 385), (4, 33, 800), (5, 17, 7), (13, 31, 384), (12, 65, 383),
          (97, 70, 50), (9, 270, 400), (30, 20, 1200)]  # rows, columns, depth
QUICK = [(1, 1, 1), (1, 40, 385), (5, 17, 7), (13, 31, 384), (9, 40, 800)]


# --- inputs: (random, rows, columns, depth) -> a (rows, depth), b (depth, columns), bias (columns,)


def normal(random, rows, columns, depth):
    return random.normal((rows, depth)), random.normal((depth, columns)), random.normal((columns,))


def scaled(random, rows, columns, depth):
    """Every number with an exponent of its own, from 2**-60 to 2**59."""
    arrays = normal(random, rows, columns, depth)
    return tuple(x * np.exp2(random.integers(120, x.shape) - 60) for x in arrays)


def cancelling(random, rows, columns, depth):
    """The second half of the terms undoes the first, but for the last bits."""
    a, b, bias = normal(random, rows, columns, depth)
    half = depth // 2
    a[:, half : 2 * half] = -a[:, :half] * (1 + 1e-6 * random.normal((rows, half)))
    b[half : 2 * half] = b[:half]
    return a, b, bias * 1e-6


def tiny(random, rows, columns, depth):
    """Subnormal operands and subnormal products."""
    a, b, bias = normal(random, rows, columns, depth)
    a[:, ::2] *= 2.0**-130
    a[:, 1::2] *= 2.0**-70
    b[1::2] *= 2.0**-72
    return a, b, bias * 2.0**-140


def large(random, rows, columns, depth):
    """Products near the largest float, some sums beyond it."""
    a, b, bias = normal(random, rows, columns, depth)
    return a * 2.0**57, b * 2.0**60, bias * 2.0**120


def special(random, rows, columns, depth):
    """NaN, infinities and zeros anywhere, corners included."""
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3e38])
    arrays = normal(random, rows, columns, depth)
    for x in arrays:
        places = random.integers(60 + x.size // 4, x.shape) == 0
        x[places] = values[random.integers(len(values), int(places.sum()))]
        if random.uniform() < 0.2:
            x.flat[0 if random.uniform() < 0.5 else -1] = values[int(random.integers(3, 1)[0])]
    return arrays


FAMILIES = (normal, scaled, cancelling, tiny, large, special)


# --- the truth


def truth(a, b, bias):
    """The exact sums as float64, the sums of absolute values, and what is not finite (NaN where it is)."""
    a, b, bias = (x.astype(np.float64) for x in (a, b, bias))
    high, low = np.zeros((2, len(a), b.shape[1]))
    size, marks = np.zeros((2, len(a), b.shape[1]))
    terms = [(a[:, k, None], b[k]) for k in range(a.shape[1])]
    for left, right in [*terms, (np.ones((len(a), 1)), bias)]:
        product = left * right  # of two floats: exact in double
        finite = np.isfinite(product)
        marks = marks + np.where(finite, 0, product)  # inf and -inf and NaN add up as IEEE says
        product = np.where(finite, product, 0)
        total = high + product
        part = total - high
        low += (high - (total - part)) + (product - part)  # Knuth's two-sum: what rounding lost
        high, size = total, size + np.abs(product)
    return high + low, size, np.where(marks == 0, np.nan, marks), marks != 0


def bound(a, b, size, rounded):
    """The largest error that is allowed for each output."""
    depth = a.shape[1]
    t = min(depth, DEPTH) + max(0, -(-depth // DEPTH) - 1) + 1
    c = t / (1 - t * EPS)
    if not rounded:
        return (c * EPS + 2.0**-50) * size + t * 2.0**-150
    small = 2.0**-126
    a, b = (np.where(np.isfinite(x), np.abs(x), 0).astype(np.float64) for x in (a, b))
    lost = (a + small) @ (b + small) - a @ b + t * small
    return (2 * 2.0**-8 + 2.0**-16 + c * EPS * (1 + 2.0**-8) ** 2) * size + np.abs(lost) * 1.01


# --- the trial


def judge(y, a, b, expected, rounded):
    """How many outputs were judged, how many are wrong, and the largest error as a share of the bound."""
    exact, size, odd, is_odd = expected
    allowed = bound(a, b, size, rounded)
    fits = size + allowed < LARGEST
    wrong_odd = is_odd & ~((y == odd) | (np.isnan(y) & np.isnan(odd)))
    ordinary = fits & ~is_odd
    share = np.where(ordinary, np.abs(y - exact) / np.maximum(allowed, 5e-324), 0)
    share = np.where(np.isnan(share), np.inf, share)
    wrong = fits & (wrong_odd | (share > 1))
    return int(fits.sum()), int(wrong.sum()), float(share.max(initial=0))


def products(a, b, bias):
    """The product by every door: one of linear with a bias, four of matmul with operands turned."""
    yield ops.linear(a, b, bias), True
    for turn_a, turn_b in itertools.product((False, True), repeat=2):
        left, right = a.T.copy() if turn_a else a, b.T.copy() if turn_b else b
        yield ops.matmul(left, right, turn_a, turn_b), False


def trial(family, shapes, rounds, rounded):
    """Judge one family of inputs at every level; return the counts and the largest share of the bound."""
    judged = wrong = worst = 0
    for shape, turn in itertools.product(shapes, range(rounds)):
        with np.errstate(all="ignore"):
            arrays = family(Random("matmul", family.__name__, *shape, turn), *shape)
            a, b, bias = (np.asarray(x, np.float32) for x in arrays)
            expected = {True: truth(a, b, bias), False: truth(a, b, np.zeros_like(bias))}
            for level in _compiled.levels():
                _compiled.use_level(level)
                for y, with_bias in products(a, b, bias):
                    more, bad, share = judge(y, a, b, expected[with_bias], rounded)
                    judged, wrong, worst = judged + more, wrong + bad, max(worst, share)
    return judged, wrong, worst


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller products")
    args = parser.parse_args(argv)
    shapes, rounds = (QUICK, 1) if args.quick else (SHAPES, 6)
    failed = 0
    for rounded in (False, True):
        name, failures, everything = "bf16" if rounded else "float32", 0, 0
        with ops.use("compiled"), ops.use(matmul="bf16" if rounded else "compiled"):
            for family in FAMILIES:
                judged, wrong, worst = trial(family, shapes, rounds, rounded)
                print(f"{name:7} {family.__name__:10} {judged:9,} outputs, {wrong} outside of the bound; "
                      f"at most {worst:.3f} of it", flush=True)
                failures, everything = failures + wrong, everything + judged
        failed += failures
        print(f"=> matmul {name}: {failures or 'zero'} violations in {everything:,} outputs")
    _compiled.use_level(None)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
