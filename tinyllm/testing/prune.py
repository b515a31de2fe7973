"""Provide test cases and common mistakes for setting weights to 0."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import cases, floats, sizes
from tinyllm.testing.edits import mistake


@cases("prune_n_m")
def prune_n_m(draw):
    """Draw weights, norms of their inputs, often equal ones, and how many of a group stay."""
    w, norms = floats(draw, (draw(sizes), draw(sizes))), floats(draw, (draw(sizes),), ("equal", "normal"))
    m = draw(st.sampled_from((4, 3, 8, 5, 70, 1)))
    return w, np.resize(np.abs(norms), len(w)), min(m, draw(st.sampled_from((2, 1, 0, 3)))), m


mistake("prune_n_m", "the n with the smallest scores kept", "-scores[group]", "scores[group]")
mistake("prune_n_m", "the largest weights, whatever they read", "np.abs(w) * norms[:, None]", "np.abs(w)")
mistake("prune_n_m", "groups of outputs, where inputs of one output form a group", "len(w)", "w.shape[1]",
        "np.zeros(w.shape, w.dtype), np.abs(w) * norms[:, None]",
        "np.zeros(w.T.shape, w.dtype), np.abs(w.T) * norms",
        "w[group]", "w.T[group]", "return pruned", "return pruned.T")
