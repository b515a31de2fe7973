"""Every output of a matrix product keeps its error bound: a short form of verify_matmul.py."""

from fractions import Fraction

import numpy as np
import pytest
import verify_matmul
from verify_matmul import FAMILIES, judge, special, truth

from tinyllm import ops
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random

compiled = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")


@compiled
def test_products_keep_their_bounds(capsys):
    assert verify_matmul.main(["--quick"]) == 0
    assert capsys.readouterr().out.count(" 0 outside of the bound") == 2 * len(FAMILIES)


def case(family=verify_matmul.normal, shape=(5, 9, 40)):
    with np.errstate(all="ignore"):
        a, b, bias = (np.asarray(x, np.float32) for x in family(Random("case", family.__name__), *shape))
        return a, b, bias, truth(a, b, bias)


def test_the_truth_is_the_exact_sum():
    a, b, bias, (exact, size, _, odd) = case(verify_matmul.cancelling)
    for m, n in ((0, 0), (4, 8), (2, 3)):
        terms = [Fraction(float(a[m, k])) * Fraction(float(b[k, n])) for k in range(40)]
        total = sum(terms, Fraction(float(bias[n])))
        assert abs(Fraction(exact[m, n]) - total) <= Fraction(size[m, n]) * Fraction(1, 2**52)
    assert not odd.any()


def corner(a, b):
    return np.eye(len(a), b.shape[1]) > 0


SLIPS = {
    "a term is left out": lambda a, b, bias: a[:, :-1] @ b[:-1] + bias,
    "the bias is left out": lambda a, b, bias: a @ b,
    "operands in half precision": lambda a, b, bias: a.astype(np.float16).astype(np.float32) @ b + bias,
    "one output has other bits far up": lambda a, b, bias: (1 + 1e-4 * corner(a, b)) * (a @ b + bias),
    "NaN": lambda a, b, bias: np.where(corner(a, b), np.nan, a @ b + bias),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_outside_of_the_bound(slip):
    a, b, bias, expected = case()
    assert judge(a @ b + bias, a, b, expected, False)[1] == 0
    assert judge(SLIPS[slip](a, b, bias).astype(np.float32), a, b, expected, False)[1] > 0


def test_subnormal_results_may_not_be_flushed():
    a, b, bias, expected = case(verify_matmul.tiny)
    with ops.use("numpy"):
        y = ops.linear(a, b, bias)
    assert judge(y, a, b, expected, False)[1] == 0
    assert judge(np.where(np.abs(y) < 2.0**-126, 0, y), a, b, expected, False)[1] > 0


def test_nan_and_infinity_must_come_out_where_they_belong():
    a, b, bias, expected = case(special, (20, 25, 30))
    with np.errstate(all="ignore"):
        y = a @ b + bias
    odd = ~np.isfinite(y)
    assert odd.any() and judge(y, a, b, expected, False)[1] == 0
    assert odd.sum() / 2 < judge(np.where(odd, 0, y), a, b, expected, False)[1] <= odd.sum()  # a few overflow
