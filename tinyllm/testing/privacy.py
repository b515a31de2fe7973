"""Provide test cases, common mistakes and correct variants for the ops of differential privacy."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES, cases, floats, sizes
from tinyllm.testing.bounds import BOUNDS, EPS
from tinyllm.testing.edits import mistake, variant

ORDERS = np.array([1.1, 1.5, 2, 3, 4.5, 8, 16, 32, 64], np.float32)


@cases("clip_factors")
def norms(draw):
    """Draw lengths of gradients, some of them 0, and a limit."""
    lengths = np.abs(floats(draw, (draw(sizes),), ("whole", "normal", "equal")))
    return lengths, draw(st.sampled_from((1.0, 0.5, 3.0)))


@cases("rdp_epsilon")
def divergences(draw):
    """Draw divergences that grow with the order, and a delta."""
    first = draw(st.integers(0, 5))
    cost, delta = draw(st.sampled_from((0.0, 0.01, 0.3, 2.0))), draw(st.sampled_from((1e-5, 1e-3, 0.1)))
    return np.float32(cost) * ORDERS[first:] ** 2, ORDERS[first:], delta


CASES["sampled_gaussian_rdp"] = st.tuples(
    st.sampled_from((2.0, 1.1, 1.5, 3.0, 8.0, 32.0, 64.0)), st.sampled_from((0.01, 0.1, 0.5, 1.0)),
    st.sampled_from((0.7, 1.0, 2.0, 5.0)))
BOUNDS |= {"clip_factors": lambda args, results: (4 * EPS,),
           "sampled_gaussian_rdp": lambda args, results: (1e-9 * (1 + results[0]),),
           "rdp_epsilon": lambda args, results: (1e-5 * (1 + results[0]),)}

FACTORS = "np.minimum(1, limit / np.maximum(norms, limit))"
RATIO = "np.logaddexp(rest, math.log(share) + (2 * z - 1) / (2 * noise**2))"
EPSILONS = "rdp + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)"

mistake("clip_factors", "one factor for all, from the length of all gradients as one", FACTORS,
        "np.full_like(norms, min(1, limit / max(np.sqrt((norms**2).sum()), limit)))")
mistake("clip_factors", "every gradient scaled to the limit, the short ones, too", FACTORS,
        "limit / np.where(norms > 0, norms, limit)")
mistake("clip_factors", "gradients that are too long left out", FACTORS,
        "(norms <= limit).astype(norms.dtype)")
mistake("clip_factors", "each number clipped, in place of the length", FACTORS, "np.minimum(norms, limit)")
mistake("sampled_gaussian_rdp", "the example in every step: no gain from drawing", RATIO,
        "(2 * z - 1) / (2 * noise**2)")
mistake("sampled_gaussian_rdp", "the share as a factor of the cost, which is nearer to its square", RATIO,
        "share * (2 * z - 1) / (2 * noise**2)")
mistake("sampled_gaussian_rdp", "noise as a variance, where it is a standard deviation",
        "(2 * z - 1) / (2 * noise**2)", "(2 * z - 1) / (2 * noise)")
mistake("sampled_gaussian_rdp", "divided by the order a, not by a - 1", "max(log_mean, 0.0) / (order - 1)",
        "max(log_mean, 0.0) / order")
mistake("rdp_epsilon", "the largest over the orders: each is a valid bound, so take the smallest",
        "epsilons.min()", "epsilons.max()")
mistake("rdp_epsilon", "the older bound rdp + log(1 / delta) / (a - 1), which is larger", EPSILONS,
        "rdp - math.log(delta) / (orders - 1)")


@variant("sampled_gaussian_rdp")
def rdp_on_a_finer_grid(order, share, noise):
    z = np.linspace(-14 * noise, 64 + 14 * noise, 60_001)
    ratio = np.logaddexp(np.log(max(1 - share, 1e-300)), np.log(share) + (2 * z - 1) / (2 * noise**2))
    terms = ratio * order - z**2 / (2 * noise**2)
    total = terms.max() + math.log(np.exp(terms - terms.max()).sum() * (z[1] - z[0]))
    return max(total - math.log(noise * math.sqrt(2 * math.pi)), 0) / (order - 1)


variant("clip_factors")(lambda norms, limit=1.0: np.array(
    [limit / norm if norm > limit else 1 for norm in norms], norms.dtype))
