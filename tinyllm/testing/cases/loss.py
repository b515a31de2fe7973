"""Cases of cross_entropy."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import floats, ints, leading, scores, sizes
from tinyllm.testing.bounds import EPS, TINY, largest
from tinyllm.testing.relations import backward_args, run_spec


@st.composite
def cross_entropy(draw):
    """Logits, some of them -inf, and targets, none, some or all of them ignored."""
    shape, vocab = draw(leading), draw(sizes) or 1
    ignore_index = draw(st.sampled_from((-100, -1, 0)))
    targets = ints(draw, shape, vocab)
    share = draw(st.sampled_from((0.0, 0.5, 0.3, 1.0)))
    if share:
        targets = np.array(targets)
        targets[Random(share, "ignored").uniform(shape) < share] = ignore_index
    return scores(draw, (*shape, vocab)), targets, ignore_index


@st.composite
def cross_entropy_backward(draw):
    """The gradient that comes in is a single number."""
    args = draw(cross_entropy())
    dloss = floats(draw, (), kinds=("equal", "normal", "zero", "large"))
    return backward_args("cross_entropy", args, run_spec("cross_entropy", args), dloss)


def cross_entropy_bound(args, results):
    """Each log-sum-exp is rounded on the scale of its logits; the mean adds one rounding per row."""
    logits, targets, _ = args
    each = EPS * (8 + logits.shape[-1] + 4 * largest(logits)[..., 0])
    return EPS * (targets.size + 4) * np.abs(results[0]) + 3 * np.max(each, initial=EPS), each


def cross_entropy_backward_bound(args, results):
    """Each probability is off by its exponent's rounding; the 1 at the target by a few of its own."""
    dloss, logits, targets, lse, ignore_index = args
    p = np.exp(logits - lse[..., None]) * (8 + 2 * largest(logits) + np.abs(lse)[..., None])
    count = max(int(np.sum(targets != ignore_index)), 1)
    return (EPS * np.abs(dloss) / count * (p + 4) + TINY,)


CASES = {"cross_entropy": cross_entropy(), "cross_entropy_backward": cross_entropy_backward()}
BOUNDS = {"cross_entropy": cross_entropy_bound, "cross_entropy_backward": cross_entropy_backward_bound}
