"""Cases of the chain rule."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import floats, seeds
from tinyllm.testing.bounds import EPS, TINY, of_sizes
from tinyllm.testing.relations import run_spec

MILD = ("whole", "normal", "equal", "zero")


@st.composite
def graphs(draw):
    """Graphs of a few scalars, in which a node may be used many times, once or not at all."""
    n = draw(st.sampled_from((2, 3, 4, 1, 0, 5, 8, 12)))
    local = floats(draw, (n, n), MILD)
    used = Random(draw(seeds), "graph").uniform((n, n)) < 0.6
    return (np.where(np.tril(used, -1), local, np.float32(0)),)


@st.composite
def stretched(draw):
    """A gradient, and a shape that broadcasts to its own."""
    full = draw(st.lists(st.sampled_from((2, 3, 1, 0, 4)), max_size=4))
    kept = full[draw(st.integers(0, len(full))):]
    shape = tuple(n if draw(st.booleans()) else 1 for n in kept)
    return floats(draw, tuple(full)), shape


def backpropagate_bound(args, results):
    """Every product is rounded once for each step of its path, and their sum once for each term."""
    (local,) = args
    return (EPS * 4 * (len(local) + 1) * run_spec("backpropagate", (np.abs(local),)) + TINY,)


CASES = {"backpropagate": graphs(), "sum_to_shape": stretched()}
BOUNDS = {
    "backpropagate": backpropagate_bound,
    "sum_to_shape": of_sizes("sum_to_shape", lambda dy, shape: 1 + dy.size),
}
