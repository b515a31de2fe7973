"""Provide test cases and common mistakes for merging adapters."""

from hypothesis import strategies as st

from tinyllm.testing.arrays import cases, few, floats, sizes
from tinyllm.testing.bounds import BOUNDS, of_sizes
from tinyllm.testing.edits import mistake


@cases("merge_lora")
def merge_lora(draw):
    """Draw a matrix, sometimes square, the two factors of an adapter, and its scale."""
    n_in, rank, n_out = draw(sizes), draw(few), draw(sizes)
    n_out = n_in if draw(st.booleans()) else n_out
    factors = floats(draw, (n_in, rank)), floats(draw, (rank, n_out))
    return floats(draw, (n_in, n_out)), *factors, draw(st.sampled_from((2.0, 0.5, 1.0)))


BOUNDS["merge_lora"] = of_sizes("merge_lora", lambda a, **_: 4 + a.shape[1])

mistake("merge_lora", "the adapter alone, without the weight", "weight + float(scale) * (a @ b)",
        "float(scale) * (a @ b)")
mistake("merge_lora", "the weight scaled, too", "weight + float(scale) * (a @ b)",
        "float(scale) * (weight + a @ b)")
mistake("merge_lora", "a scale that is divided by the rank again", "float(scale)",
        "float(scale) / max(a.shape[1], 1)")
mistake("merge_lora", "the product transposed, as PyTorch stores weights", "a @ b", "(a @ b).T")
mistake("merge_lora", "both factors scaled, so that the product has the scale twice", "a @ b",
        "(float(scale) * a) @ b")
