"""Cases of a whole block and of its costs."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import floats, seeds
from tinyllm.testing.bounds import EPS

counts = st.sampled_from((2, 1, 3, 5, 12, 64, 100))


@st.composite
def blocks(draw):
    """Blocks of a few channels with weights of the size that keeps a stack alive."""
    B, T = draw(st.sampled_from((2, 1, 3, 0))), draw(st.sampled_from((3, 1, 2, 6, 9)))
    heads, D = draw(st.sampled_from((2, 1, 3))), draw(st.sampled_from((2, 4, 1, 8)))
    C, rng = heads * D, Random(draw(seeds), "block")

    def layer(n_in, n_out):
        return [(rng.normal((n_in, n_out)) / n_in**0.5).astype(np.float32), small(n_out)]

    def small(n):
        return (0.3 * rng.normal(n)).astype(np.float32)

    norms = [[(1 + small(C)).astype(np.float32), small(C)] for _ in range(2)]
    x = floats(draw, (B, T, C), ("normal", "wide", "normal"))
    return x, heads, norms[0], layer(C, 3 * C), layer(C, C), norms[1], layer(C, 4 * C), layer(4 * C, C)


def block_bound(args, results):
    """A norm of few channels can magnify a rounding error a hundred times, and there are two in a row."""
    (y,) = results
    return (EPS * 4000 * (4 + np.abs(y).max(initial=0)),)


sizes = st.tuples(counts, counts, st.sampled_from((1, 2, 12)), st.sampled_from((1, 2, 8, 96)))
CASES = {"transformer_block": blocks(), "count_parameters": sizes, "count_flops": sizes}
BOUNDS = {"transformer_block": block_bound}
