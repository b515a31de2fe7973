"""Add a low-rank product to a matrix: LoRA (Hu et al. 2021)."""

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("merged",), grads=(), shapes="weight (I, O), a (I, r), b (r, O)")
def merge_lora(weight: Array, a: Array, b: Array, scale: float) -> Array:
    """Add an adapter to the matrix that it adapts: weight + scale (a b), with scale = alpha / rank.

    weight (n_in, n_out), a (n_in, r), b (r, n_out) -> (n_in, n_out). (Hu et al., "LoRA", 2021, section 4.1.)
    """
    return weight + float(scale) * (a @ b)  # not matmul, whose factors may be rounded to bfloat16
