"""Provide test cases, common mistakes and correct variants for adapters, and for merging them."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.shapes import rows
from tinyllm.testing.arrays import cases, few, floats, leading, sizes
from tinyllm.testing.bounds import BOUNDS, of_sizes
from tinyllm.testing.edits import mistake, variant


@cases("low_rank")
def low_rank(draw):
    """Draw inputs with one or more axes, the two factors of an adapter, sometimes square, and its scale."""
    n_in, rank, n_out = draw(sizes), draw(few), draw(sizes)
    if draw(st.sampled_from((False, False, True))):
        n_in = n_out = rank
    factors = floats(draw, (n_in, rank)), floats(draw, (rank, n_out))
    return floats(draw, (*draw(leading), n_in)), *factors, draw(st.sampled_from((2.0, 0.5, 4.0, 1.0)))


@cases("merge_lora")
def merge_lora(draw):
    """Draw a matrix, sometimes square, the two factors of an adapter, and its scale."""
    n_in, rank, n_out = draw(sizes), draw(few), draw(sizes)
    n_out = n_in if draw(st.booleans()) else n_out
    factors = floats(draw, (n_in, rank)), floats(draw, (rank, n_out))
    return floats(draw, (n_in, n_out)), *factors, draw(st.sampled_from((2.0, 0.5, 1.0)))


BOUNDS |= {
    "low_rank": of_sizes("low_rank", lambda a, **_: 8 + sum(a.shape)),
    "low_rank_backward": of_sizes("low_rank_backward",
                                  lambda dy, a, **_: 16 + sum(a.shape) + math.prod(dy.shape)),
    "merge_lora": of_sizes("merge_lora", lambda a, **_: 4 + a.shape[1]),
}

mistake("low_rank", "a product without the scale", "linear(x, a) * float(scale)", "linear(x, a)")
mistake("low_rank", "a scale that is divided by the rank again", "float(scale)",
        "float(scale) / max(a.shape[1], 1)")
mistake("low_rank", "a product that is divided by the scale", "linear(x, a) * float(scale)",
        "linear(x, a) / float(scale)")
mistake("low_rank", "both factors scaled, so that the product has the scale twice", "float(scale)",
        "float(scale) ** 2")
mistake("low_rank_backward", "gradients without the scale", "linear(x, a) * float(scale)", "linear(x, a)",
        "dh * float(scale)", "dh")
mistake("low_rank_backward", "db without the scale", "linear(x, a) * float(scale)", "linear(x, a)")
mistake("low_rank_backward", "da and dx without the scale", "dh * float(scale)", "dh")
mistake("low_rank_backward", "da and dx with the scale squared", "dh * float(scale)",
        "dh * float(scale) ** 2")
mistake("low_rank_backward", "no gradient for x, as if nothing below the adapter were trained",
        "return dx, da, db", "return 0 * dx, da, db")
mistake("low_rank_backward", "da and db of 0: the layer is frozen, but its adapter is not",
        "return dx, da, db", "return dx, 0 * da, 0 * db")
mistake("low_rank_backward", "da and db averaged over the rows: the loss has already divided",
        "return dx, da, db", "rows = max(math.prod(x.shape[:-1]), 1)\nreturn dx, da / rows, db / rows")
mistake("merge_lora", "the adapter alone, without the weight", "weight + float(scale) * (a @ b)",
        "float(scale) * (a @ b)")
mistake("merge_lora", "the weight scaled, too", "weight + float(scale) * (a @ b)",
        "float(scale) * (weight + a @ b)")
mistake("merge_lora", "a scale that is divided by the rank again", "float(scale)",
        "float(scale) / max(a.shape[1], 1)")
mistake("merge_lora", "the product transposed, as PyTorch stores weights", "a @ b", "(a @ b).T")
mistake("merge_lora", "both factors scaled, so that the product has the scale twice", "a @ b",
        "(float(scale) * a) @ b")


@variant("low_rank")
def by_the_whole_matrix(x, a, b, scale):
    return x @ (np.float32(scale) * (a @ b))


@variant("low_rank_backward")
def by_einsum(dy, x, a, b, scale):
    inputs, outputs = rows(x), rows(dy)
    da = np.einsum("ni,no,ro->ir", inputs, outputs, b) * np.float32(scale)
    db = np.einsum("ni,ir,no->ro", inputs, a, outputs) * np.float32(scale)
    return dy @ (a @ b).T * np.float32(scale), da, db
