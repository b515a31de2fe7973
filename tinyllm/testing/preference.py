"""Provide test cases, common mistakes and correct variants for the losses of pairs of answers."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.preference import KINDS
from tinyllm.testing.arrays import CASES
from tinyllm.testing.bounds import BOUNDS, of_rounding
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME
from tinyllm.testing.relations import declared_cases

betas, kinds = st.sampled_from((0.5, 0.1, 1.0, 0.01)), st.sampled_from(KINDS)
CASES |= {"bradley_terry_loss": declared_cases("bradley_terry_loss"),
          "dpo_loss": declared_cases("dpo_loss", beta=betas, kind=kinds)}
BOUNDS |= {name: of_rounding(name) for stem in ("bradley_terry_loss", "dpo_loss")
           for name in (stem, f"{stem}_backward")}

BEHIND = "softplus(rejected - chosen)"
H = "(chosen - reference_chosen) - (rejected - reference_rejected)"
SIGMOID = "softplus(-margins)"
UNSTABLE = "the logarithm of a sigmoid that is rounded to 0"

mistake("bradley_terry_loss", UNSTABLE, BEHIND, "-np.log(sigmoid(chosen - rejected))", breaks=EXTREME)
mistake("bradley_terry_loss", "a probability, without the logarithm", BEHIND, "sigmoid(rejected - chosen)")
mistake("bradley_terry_loss", "each score on its own, not their difference", BEHIND,
        "softplus(-chosen) + softplus(rejected)")
mistake("dpo_loss", UNSTABLE, SIGMOID, "-np.log(sigmoid(margins))", breaks=EXTREME)
mistake("dpo_loss", "the reference left out", H, "chosen - rejected")
mistake("dpo_loss", "a probability, without the logarithm", SIGMOID, "-sigmoid(margins)")
mistake("dpo_loss", "beta outside the logarithm, where it belongs inside", SIGMOID,
        "float(beta) * softplus(-h)")
mistake("dpo_loss", "beta inside the logarithm twice", SIGMOID, "softplus(-float(beta) * margins)")
mistake("dpo_loss", "ipo with the margin's distance from 1 / 2, not that of h from 1 / (2 beta)",
        "(h - 0.5 / float(beta)) ** 2", "(margins - 0.5) ** 2")

variant("bradley_terry_loss")(lambda chosen, rejected: np.logaddexp(0, rejected - chosen))


@variant("dpo_loss")
def dpo_loss_by_rewards(chosen, rejected, reference_chosen, reference_rejected, beta=0.1, kind="sigmoid"):
    reward, other = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
    if kind == "ipo":
        return ((reward - other - np.float32(0.5)) / np.float32(beta)) ** 2, reward - other
    return np.logaddexp(0, other - reward), reward - other
