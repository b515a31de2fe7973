"""Cases of the sampling ops."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import ANY_LAYOUT, arrange, ints, leading, scores, seeds, sizes
from tinyllm.testing.bounds import ulps
from tinyllm.testing.relations import run_spec

KEEPING = tuple(layout for layout in ANY_LAYOUT if layout != "repeated row")  # that one changes the numbers
KINDS = ("whole", "normal", "wide", "small", "equal")  # whole numbers and equal ones have many ties


@st.composite
def logits(draw):
    """Rows of scores, some of them already dropped."""
    return scores(draw, (*draw(leading), draw(sizes)), KINDS)


def with_number(*choices):
    """Logits and one number, such as k or p."""
    return st.tuples(logits(), st.sampled_from(choices))


@st.composite
def repetition_penalty(draw):
    """Ids in every row, many of them twice, or none."""
    x = draw(logits())
    used = draw(sizes) if x.shape[-1] else 0
    return x, ints(draw, (*x.shape[:-1], used), x.shape[-1]), draw(st.sampled_from((2.0, 1.0, 1.3, 0.5)))


def make_probs(shape, seed, kind):
    """Probabilities of which many are 0: quarters, whose sums are exact, or any."""
    rng = Random(seed, "probs")
    if kind == "quarters":
        cuts = np.sort(rng.integers(5, (*shape[:-1], shape[-1] - 1)), axis=-1) / 4
        edges = np.zeros((*shape[:-1], 1))
        return np.diff(cuts, axis=-1, prepend=edges, append=edges + 1).astype(np.float32)
    weights = rng.uniform(shape) ** 4
    weights[weights < 0.1] = 0
    weights[..., -1:] += 1e-3
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


@st.composite
def sample(draw):
    """u in quarters lands exactly on the edges between tokens; u next to 1 needs all of the running sum."""
    shape = (*draw(leading), draw(sizes) or 1)
    seed, kind = draw(seeds), draw(st.sampled_from(("quarters", "any")))
    probs = arrange(make_probs(shape, seed, kind), draw(st.sampled_from(KEEPING)))
    u = Random(seed, "u").uniform(shape[:-1])
    how = draw(st.sampled_from(("quarters", "any", "largest")))
    return probs, {"quarters": np.floor(u * 4) / 4, "any": u, "largest": np.full_like(u, 1 - 2.0**-53)}[how]


def near(position, distance, least, most, exact=lambda args: False):
    """Arguments whose threshold, at this position, is off by a rounding error, unless every sum is exact."""

    def neighbours(args):
        if exact(args):
            return []
        moved = [np.clip(args[position] + step, least, most) for step in (-distance, distance)]
        return [(*args[:position], value, *args[position + 1:]) for value in moved]

    return neighbours


def exact_sums(*numbers):
    """Whether all numbers are whole multiples of 1/1024, so that sums of them have no rounding error."""
    return all(np.array_equal(1024 * x, np.round(1024 * x)) for x in numbers)


CASES = {
    "temperature": with_number(1.0, 0.5, 2.0, 0.01),
    "top_k": with_number(1, 2, 3, 5, 40, 1000),
    "top_p": with_number(0.5, 0.9, 0.1, 1.0, 0.99),
    "min_p": with_number(0.5, 0.1, 0.0, 1.0, 0.01),
    "repetition_penalty": repetition_penalty(),
    "sample": sample(),
}
BOUNDS = {"temperature": ulps(4), "repetition_penalty": ulps(4)}
NEIGHBOURS = {
    "top_p": near(1, 1e-5, 1e-6, 1.0, exact=lambda args: exact_sums(run_spec("softmax", args[:1]), args[1])),
    "min_p": near(1, 1e-5, 0.0, 1.0),
    "sample": near(1, 1e-6, 0.0, 1 - 2.0**-53, exact=lambda args: exact_sums(*args)),
}
