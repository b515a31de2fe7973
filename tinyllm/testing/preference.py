"""Provide test cases, common mistakes and correct variants for the losses of pairs of answers."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.preference import KINDS
from tinyllm.testing.arrays import cases, floats, sizes
from tinyllm.testing.bounds import BOUNDS, of_rounding
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME


@cases("bradley_terry_loss")
def bradley_terry_loss(draw):
    """Draw the scores of chosen and rejected answers."""
    N = draw(sizes)
    return floats(draw, (N,)), floats(draw, (N,))


@cases("dpo_loss")
def dpo_loss(draw):
    """Draw log-probabilities of pairs by a model and by a reference, beta, and the kind of loss."""
    N = draw(sizes)
    sums = [floats(draw, (N,)) for _ in range(4)]
    return *sums, draw(st.sampled_from((0.5, 0.1, 1.0, 0.01))), draw(st.sampled_from(KINDS))


BOUNDS |= {name: of_rounding(name) for stem in ("bradley_terry_loss", "dpo_loss")
           for name in (stem, f"{stem}_backward")}

BEHIND = "softplus(rejected - chosen)"
H = "(chosen - reference_chosen) - (rejected - reference_rejected)"
SIGMOID = "softplus(-margins)"
APART = "one gradient for both answers, which should move apart"
UNSTABLE = "the logarithm of a sigmoid that is rounded to 0"

mistake("bradley_terry_loss", UNSTABLE, BEHIND, "-np.log(sigmoid(chosen - rejected))", breaks=EXTREME)
mistake("bradley_terry_loss", "the rejected answer preferred to the chosen", BEHIND,
        "softplus(chosen - rejected)")
mistake("bradley_terry_loss", "a probability, without the logarithm", BEHIND, "sigmoid(rejected - chosen)")
mistake("bradley_terry_loss", "each score on its own, not their difference", BEHIND,
        "softplus(-chosen) + softplus(rejected)")
mistake("bradley_terry_loss_backward", "the derivative of the sigmoid, not of its logarithm",
        "sigmoid(rejected - chosen)", "sigmoid(rejected - chosen) * sigmoid(chosen - rejected)")
mistake("bradley_terry_loss_backward", APART, "return -drejected, drejected",
        "return drejected, drejected.copy()")
mistake("dpo_loss", UNSTABLE, SIGMOID, "-np.log(sigmoid(margins))", breaks=EXTREME)
mistake("dpo_loss", "the reference left out", H, "chosen - rejected")
mistake("dpo_loss", "the rejected answer preferred to the chosen", SIGMOID, "softplus(margins)")
mistake("dpo_loss", "the chosen answer compared with the reference's rejected answer", H,
        "(chosen - reference_rejected) - (rejected - reference_chosen)")
mistake("dpo_loss", "a probability, without the logarithm", SIGMOID, "-sigmoid(margins)")
mistake("dpo_loss", "beta outside the logarithm, where it belongs inside", SIGMOID,
        "float(beta) * softplus(-h)")
mistake("dpo_loss", "beta inside the logarithm twice", SIGMOID, "softplus(-float(beta) * margins)")
mistake("dpo_loss", "margins without beta", "margins = float(beta) * h", "margins = h", SIGMOID,
        "softplus(-float(beta) * h)")
mistake("dpo_loss", "ipo with the margin's distance from 1 / 2, not that of h from 1 / (2 beta)",
        "(h - 0.5 / float(beta)) ** 2", "(margins - 0.5) ** 2")
mistake("dpo_loss", "ipo with beta / 2 where 1 / (2 beta) belongs", "0.5 / float(beta)", "0.5 * float(beta)")
mistake("dpo_loss_backward", "sigmoid(beta h), which grows where the pair is already in order",
        "sigmoid(-float(beta) * h)", "sigmoid(float(beta) * h)")
mistake("dpo_loss_backward", "the derivative of the sigmoid, not of its logarithm",
        "sigmoid(-float(beta) * h)", "sigmoid(-float(beta) * h) * sigmoid(float(beta) * h)")
mistake("dpo_loss_backward", APART, "return dloss * slope, -dloss * slope",
        "return dloss * slope, dloss * slope")
mistake("dpo_loss_backward", "the reference left out", H, "chosen - rejected")


@variant("bradley_terry_loss")
def bradley_terry_loss_by_log1p(chosen, rejected):
    x = (chosen - rejected).astype(np.float64)
    return (np.log1p(np.exp(-np.abs(x))) - np.minimum(x, 0)).astype(chosen.dtype)


@variant("dpo_loss")
def dpo_loss_by_rewards(chosen, rejected, reference_chosen, reference_rejected, beta=0.1, kind="sigmoid"):
    reward, other = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    if kind == "ipo":
        return ((reward - other - np.float32(0.5)) / np.float32(beta)) ** 2, reward - other
    return bradley_terry_loss_by_log1p(reward, other), reward - other
