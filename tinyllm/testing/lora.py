"""Provide test cases, common mistakes and correct variants for adapters, and for merging them."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.shapes import rows
from tinyllm.testing.arrays import CASES, few
from tinyllm.testing.bounds import BOUNDS, of_sizes
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import declared_cases

scales = st.sampled_from((2.0, 0.5, 4.0, 1.0))
CASES |= {name: declared_cases(name, {"r": few}, "rIO", scale=scales) for name in ("low_rank", "merge_lora")}
BOUNDS |= {
    "low_rank": of_sizes("low_rank", lambda a, **_: 8 + sum(a.shape)),
    "low_rank_backward": of_sizes("low_rank_backward",
                                  lambda dy, a, **_: 16 + sum(a.shape) + math.prod(dy.shape)),
    "merge_lora": of_sizes("merge_lora", lambda a, **_: 4 + a.shape[1]),
}

for op in ("low_rank", "merge_lora"):
    mistake(op, "a scale that is divided by the rank again", "float(scale)",
            "float(scale) / max(a.shape[1], 1)")
mistake("low_rank_backward", "db without the scale", "linear(x, a) * float(scale)", "linear(x, a)")
mistake("low_rank_backward", "da and dx without the scale", "dh * float(scale)", "dh")
mistake("low_rank_backward", "da and db of 0: the layer is frozen, but its adapter is not",
        "return dx, da, db", "return dx, 0 * da, 0 * db")
mistake("merge_lora", "the weight scaled, too", "weight + float(scale) * (a @ b)",
        "float(scale) * (weight + a @ b)")
mistake("merge_lora", "the product transposed, as PyTorch stores weights", "a @ b", "(a @ b).T")

variant("low_rank")(lambda x, a, b, scale: x @ (np.float32(scale) * (a @ b)))
variant("low_rank_backward")(lambda dy, x, a, b, scale: (
    dy @ (a @ b).T * np.float32(scale), rows(x).T @ rows(dy) @ b.T * np.float32(scale),
    a.T @ rows(x).T @ rows(dy) * np.float32(scale)))
