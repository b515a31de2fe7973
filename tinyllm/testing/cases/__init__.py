"""What to try on every op, and how far off it may be: one file per file of ops.

`CASES[name]` is a Hypothesis strategy of argument tuples in float32. `BOUNDS[name]` takes the arguments and
the expected results in float64 and gives one tolerance per result; an op without one must give exactly the
expected numbers. `NEIGHBOURS[name]` gives arguments whose results are right too: their threshold is a
rounding error away.
"""

from hypothesis import strategies as st

from tinyllm.testing.arrays import floats
from tinyllm.testing.cases import (
    attention,
    autograd,
    block,
    bpe,
    elementwise,
    embedding,
    loss,
    lowp,
    matmul,
    ngram,
    norm,
    optim,
    pieces,
    quant,
    rope,
    sample,
    softmax,
    split,
)
from tinyllm.testing.relations import FORWARDS, SUFFIX, backward_args, first, run_spec

PARTS = (
    attention, autograd, block, bpe, elementwise, embedding, loss, lowp, matmul, ngram, norm, optim, pieces,
    quant, rope, sample, softmax, split,
)  # fmt: skip

CASES: dict = {}
BOUNDS: dict = {}
for part in PARTS:
    CASES |= part.CASES
    BOUNDS |= part.BOUNDS
NEIGHBOURS = sample.NEIGHBOURS


def backward_cases(name):
    """Cases of a backward op: a case of the forward op, its results, and gradients in any layout."""

    @st.composite
    def draw_case(draw):
        args = draw(CASES[name])
        result = run_spec(name, args)
        return backward_args(name, args, result, floats(draw, first(result).shape))

    return draw_case()


CASES |= {name + SUFFIX: backward_cases(name) for name in FORWARDS if name + SUFFIX not in CASES}
