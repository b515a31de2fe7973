"""Provide test cases and common mistakes for scaling laws."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import cases, few, seeds
from tinyllm.testing.bounds import BOUNDS, EPS
from tinyllm.testing.edits import mistake

powers = st.sampled_from((0, 7))  # sizes are 1 to 100, in any unit, or 10 million to a billion


def _law(rng):
    return (np.array([1.0, 5.0, 0.2, 9.0, 0.2]) * (0.3 + rng.uniform(5))).astype(np.float32)


@cases("scaling_error")
def runs(draw):
    """Draw a law and runs, of which some are as it predicts, and some far from it."""
    rng, R = Random(draw(seeds), "runs"), draw(few)
    params, tokens = np.float32(10) ** (draw(powers) + 2 * rng.uniform((2, R))).astype(np.float32)
    law = _law(rng)
    losses = law[0] + law[1] * params ** -law[2] + law[3] * tokens ** -law[4]
    off = draw(st.sampled_from((0.5, 0.01, 0.0))) * (2 * rng.uniform(R) - 1)
    return law, params, tokens, (losses * np.exp(off)).astype(np.float32), draw(st.sampled_from((1e-3, 0.1)))


@cases("compute_optimal")
def budgets(draw):
    """Draw a law and numbers of FLOPs."""
    rng = Random(draw(seeds), "budgets")
    return _law(rng), np.float32(10) ** (2 * draw(powers) + 2 * rng.uniform(draw(few))).astype(np.float32)


BOUNDS |= {
    "scaling_error": lambda args, results: (64 * EPS * len(args[1]) * args[4],),
    "compute_optimal": lambda args, results: tuple(512 * EPS * each for each in results)}

HUBER = "np.where(r <= delta, r * r / 2, delta * (r - delta / 2))"
LOGS = "np.log(E + A * params**-alpha + B * tokens**-beta) - np.log(losses)"
mistake("scaling_error", "a difference of losses, not of their logarithms", LOGS,
        "E + A * params**-alpha + B * tokens**-beta - losses")
mistake("scaling_error", "a law without a floor E", "E + A * params**-alpha", "A * params**-alpha")
mistake("scaling_error", "squares, so that one run that went wrong bends the law", HUBER, "r * r / 2")
mistake("compute_optimal", "the exponent of the tokens for that of the parameters",
        "beta / (alpha + beta)", "alpha / (alpha + beta)")
mistake("compute_optimal", "A / B, without the exponents as factors", "alpha * A / (beta * B)", "A / B")
mistake("compute_optimal", "FLOPs of the forward pass alone: 2 N D", "flops / 6", "flops / 2")
