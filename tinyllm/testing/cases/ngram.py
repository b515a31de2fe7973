"""Cases of the counting model and of its measures."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import floats, ints, leading, scores, sizes
from tinyllm.testing.bounds import EPS, TINY
from tinyllm.testing.relations import run_spec

lengths = st.sampled_from((2, 1, 3, 0, 5, 9, 40, 200))


@st.composite
def bigram_counts(draw):
    """Texts over few tokens and over many."""
    vocab = draw(st.sampled_from((2, 1, 3, 7, 20)))
    return ints(draw, (draw(lengths),), vocab), vocab


@st.composite
def distributions(draw):
    """Rows of probabilities, some of them 0, some rows certain of one thing."""
    x = scores(draw, (*draw(leading), draw(sizes.filter(bool))), shares=(0, 0, 0.5, 0.9))
    return (run_spec("softmax", (x,)),)


@st.composite
def probabilities(draw):
    """What a model gave to the tokens that came; sometimes 0."""
    p = np.exp(-np.abs(floats(draw, (draw(lengths),), layouts=("plain", "every second"))))
    return (np.where(p > 0.99, np.float32(0), p) if draw(st.integers(0, 5)) == 5 else p,)


def entropy_bound(args, results):
    """Each term is rounded a few times, and so is their sum; every term is at most 1/e."""
    (p,), (y,) = args, results
    return (EPS * (p.shape[-1] + 8) * (y + EPS * p.shape[-1]) + TINY,)


def perplexity_bound(args, results):
    """The mean surprise is off by EPS times itself a few times, and exp makes that a relative error."""
    (p,), (y,) = args, results
    with np.errstate(divide="ignore"):
        total = np.abs(np.log(p)).sum() / max(p.size, 1)
    return (np.where(np.isfinite(y), EPS * (8 + (p.size + 4) * total) * y, 0) + TINY,)


CASES = {"bigram_counts": bigram_counts(), "entropy": distributions(), "perplexity": probabilities()}
BOUNDS = {"entropy": entropy_bound, "perplexity": perplexity_bound}
