"""Cases of rope and its tables."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import few, floats, ints, sizes
from tinyllm.testing.bounds import EPS
from tinyllm.testing.relations import run_spec

even = st.sampled_from((2, 4, 0, 6, 8, 16, 18, 32, 34, 64, 66))
bases = st.sampled_from((10000.0, 100.0, 500000.0))


@st.composite
def rope_tables(draw):
    """Positions in any order, near and far, for one row or for several."""
    shape = (draw(sizes),) if draw(st.booleans()) else (draw(few), draw(few))
    return ints(draw, shape, draw(st.sampled_from((8, 1, 100_000)))), draw(even), draw(bases)


@st.composite
def rope(draw):
    """Positions in any order, as when several sequences are packed into one; of each row, or of all."""
    shape = (draw(few), draw(sizes), draw(few), draw(even))
    own = shape[:2] if draw(st.booleans()) else shape[1:2]
    positions = ints(draw, own, draw(st.sampled_from((8, 1, 5000))))
    cos, sin = run_spec("rope_tables", (positions, shape[3]))
    return floats(draw, shape), cos, sin


def tables_bound(args, results):
    """The angle, up to 100,000, is worked out in float64; only the cosine and sine are rounded."""
    return tuple(np.full(y.shape, EPS) for y in results)


@st.composite
def scaled_rope_tables(draw):
    """Every kind of scaling, for a small context and a large one."""
    positions, width, base = draw(rope_tables())
    kind = draw(st.sampled_from(("linear", "ntk", "llama3", "yarn", "yarn of its own growth")))
    scaling = {"rope_type": kind.split()[0], "factor": draw(st.sampled_from((4.0, 1.0, 32.0)))}
    if kind not in ("linear", "ntk"):
        scaling["original_max_position_embeddings"] = draw(st.sampled_from((64, 8192)))
    if kind == "llama3":
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if kind == "yarn of its own growth":
        scaling |= {"attention_factor": 1.5, "beta_fast": 16, "beta_slow": 2}
    return positions, width, base, scaling


CASES = {"rope_tables": rope_tables(), "scaled_rope_tables": scaled_rope_tables(), "rope": rope()}


def rope_bound(args, results):
    """(|a|, |b|) -> |a cos| + |b sin|, whichever way it is turned."""
    x, cos, sin = (np.abs(value) for value in args)
    half = x.shape[-1] // 2
    a, b, cos, sin = x[..., :half], x[..., half:], cos[..., None, :], sin[..., None, :]
    return (4 * EPS * np.concatenate([a * cos + b * sin, b * cos + a * sin], axis=-1),)


def scaled_tables_bound(args, results):
    """As tables_bound, and what yarn's growth multiplies."""
    return tuple(np.full(y.shape, 2 * EPS) for y in results)


BOUNDS = {
    "rope_tables": tables_bound,
    "scaled_rope_tables": scaled_tables_bound,
    "rope": rope_bound,
    "rope_backward": rope_bound,
}
