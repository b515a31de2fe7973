"""Provide test cases, common mistakes and correct variants for the losses of policy gradients."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import CASES, MODEST, cases, few, floats, seeds, sizes
from tinyllm.testing.bounds import BOUNDS, of_rounding, of_terms, ulps
from tinyllm.testing.edits import mistake, variant

limits = st.sampled_from((0.2, 0.5, float("inf"), 0.1))


@st.composite
def moved(draw, others, *settings):
    """Draw numbers and what they were before, often nearly the same, `others` such arrays, and settings."""
    shape = draw(few), draw(sizes)
    new, old, *rest = (floats(draw, shape, MODEST) for _ in range(2 + others))
    near = draw(st.sampled_from((0.3, 0.3, None, 0.0)))
    step = Random(draw(seeds), "moved").normal(shape)
    new = new if near is None else old + np.float32(near) * step
    return new, old, *rest, *map(draw, settings)


@cases("answer_weights")
def answer_weights(draw):
    """Draw the lengths of answers, some of them 0, and a way to count them."""
    T, how = draw(sizes), draw(st.sampled_from(("sequence", "token", "constant")))
    lengths = Random(draw(seeds), "lengths").integers(T + 1, draw(few))
    return lengths, T, how, draw(st.sampled_from((8, 99)))


CASES |= {"clipped_loss": moved(1, limits, limits), "value_loss": moved(1, limits),
          "kl_estimate": moved(0, st.sampled_from(("k3", "k1", "k2")))}
BOUNDS |= {name: of_rounding(name) for name in (
    "clipped_loss", "clipped_loss_backward", "value_loss", "value_loss_backward", "kl_estimate_backward")}
BOUNDS["answer_weights"] = ulps(2)
BOUNDS["kl_estimate"] = of_terms(lambda y, new, reference, kind: 4 * (  # in "k3", d and exp(-d) - 1 cancel
    np.abs(y[0]) + np.abs(new - reference)
    + np.abs(np.expm1(reference - new)) * (1 + np.abs(new - reference))))

CLIPPED = "np.clip(ratio, 1 - float(low), 1 + float(high))"
SMALLER = "np.minimum(free, bounded)"
K3 = "expm1(-d) + d"

mistake("clipped_loss", "the larger of both terms, where the smaller belongs", SMALLER,
        "np.maximum(free, bounded)")
mistake("clipped_loss", "the clipped term alone, which also stops tokens that should move back", SMALLER,
        "bounded")
mistake("clipped_loss", "the ratio of log-probabilities, where that of probabilities belongs",
        "exp(new - old)", "new / old")
mistake("clipped_loss", "a ratio clipped to low..high, not to 1 - low..1 + high", CLIPPED,
        "np.clip(ratio, float(low), float(high))")
mistake("clipped_loss", "new - old clipped, where its exp belongs", CLIPPED,
        "np.exp(np.clip(np.log(ratio), -float(low), float(high)))")
mistake("clipped_loss", "the product of ratio and advantages clipped, not the ratio",
        f"{CLIPPED} * advantages", CLIPPED.replace("ratio", "ratio * advantages"))
mistake("clipped_loss", "a ratio bounded from above alone, whatever the sign of the advantages", SMALLER,
        "np.minimum(np.exp(new - old), 1 + float(high)) * advantages")
mistake("clipped_loss", "True wherever the ratio is outside the limits, also where the free term is smaller",
        "bounded < free", "bounded != free")
mistake("kl_estimate", "k3 with the sign of d turned", K3, "np.expm1(d) - d")
mistake("kl_estimate", "k3 without the 1 that is subtracted", K3, "np.exp(-d) + d")
mistake("kl_estimate", "exp(-d) - 1 + d, where expm1(-d) + d keeps more digits", K3, "np.exp(-d) - 1 + d")
mistake("kl_estimate", "an estimate that is multiplied by exp(new), with which the tokens were already drawn",
        "return d", "return np.exp(new) * d")
mistake("kl_estimate_backward", "the slope of k1 for k3", "-expm1(reference - new)", "1")


@variant("clipped_loss")
def clipped_loss_by_sign(new, old, advantages, low=0.2, high=0.2):
    ratio = np.exp((new - old).astype(np.float64))
    limit = np.where(advantages > 0, 1 + np.float64(high), 1 - np.float64(low))
    clipped = np.where(advantages > 0, ratio > limit, (ratio < limit) & (advantages < 0))
    return (-np.where(clipped, limit, ratio) * advantages).astype(new.dtype), clipped
