"""Every output of a matrix product keeps its error bound: a short form of verify_matmul.py."""

from fractions import Fraction

import numpy as np
import pytest
import verify_matmul
from verify_matmul import FAMILIES, judge, normal, special, truth

from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

compiled = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")


@compiled
def test_products_keep_their_bounds(capsys):
    assert verify_matmul.main(["--quick"]) == 0
    assert capsys.readouterr().out.count(" 0 outside of the bound") == 2 * len(FAMILIES)


def case(family, shape):
    with np.errstate(all="ignore"):
        a, b, bias = (np.asarray(x, np.float32) for x in family(Random("case", family.__name__), *shape))
        return a, b, bias, truth(a, b, bias)


def test_the_truth_is_the_exact_sum():
    a, b, bias, (exact, size, _, odd) = case(verify_matmul.cancelling, (5, 9, 40))
    for m, n in ((0, 0), (4, 8), (2, 3)):
        terms = [Fraction(float(a[m, k])) * Fraction(float(b[k, n])) for k in range(40)]
        total = sum(terms, Fraction(float(bias[n])))
        assert abs(Fraction(exact[m, n]) - total) <= Fraction(size[m, n]) * Fraction(1, 2**52)
    assert not odd.any()


def corner(a, b):
    return np.eye(len(a), b.shape[1]) > 0


SLIPS = {  # the family of numbers, and what a kernel would do to them
    "a term is left out": (normal, lambda a, b, bias: a[:, :-1] @ b[:-1] + bias),
    "the bias is left out": (normal, lambda a, b, bias: a @ b),
    "operands in half precision": (
        normal, lambda a, b, bias: a.astype(np.float16).astype(np.float32) @ b + bias),
    "one output has other bits far up": (
        normal, lambda a, b, bias: (1 + 1e-4 * corner(a, b)) * (a @ b + bias)),
    "NaN": (normal, lambda a, b, bias: np.where(corner(a, b), np.nan, a @ b + bias)),
    "subnormal numbers flushed": (
        verify_matmul.tiny, lambda a, b, bias: np.where(np.abs(a @ b + bias) < 2.0**-126, 0, a @ b + bias)),
    "NaN and infinity lost": (special, lambda a, b, bias: np.nan_to_num(a @ b + bias, posinf=0, neginf=0)),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_outside_of_the_bound(slip):
    family, wrong = SLIPS[slip]
    a, b, bias, expected = case(family, (20, 25, 30))
    with np.errstate(all="ignore"):
        assert judge(a @ b + bias, a, b, expected, False)[1] == 0
        assert judge(wrong(a, b, bias).astype(np.float32), a, b, expected, False)[1] > 0
