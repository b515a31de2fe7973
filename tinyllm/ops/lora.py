"""Compute what an adapter adds to a layer, and merge it into the layer's matrix: LoRA (Hu et al. 2021)."""

from tinyllm.ops.matmul import linear, linear_backward
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array

ADAPTER = "x (..., I), a (I, r), b (r, O)"


@op(grads=("x", "a", "b"), shapes=ADAPTER, follows="matmul")
def low_rank(x: Array, a: Array, b: Array, scale: float) -> Array:
    """Compute what an adapter adds to the output of its layer: scale (x a) b, with scale = alpha / rank.

    x (..., I), a (I, r), b (r, O) -> (..., O). (Hu et al., "LoRA", 2021, section 4.1.)
    """
    return linear(linear(x, a) * float(scale), b)


@op(shapes=f"dy (..., O), {ADAPTER}", follows="matmul")
def low_rank_backward(dy: Array, x: Array, a: Array, b: Array, scale: float) -> tuple[Array, Array, Array]:
    """Compute the gradients of low_rank: dx = dh a^T, da = x^T dh, db = h^T dy.

    Here h = scale x a and dh = scale dy b^T; the sums are over all rows.
    """
    h = linear(x, a) * float(scale)
    dh, db, _ = linear_backward(dy, h, b)
    dx, da, _ = linear_backward(dh * float(scale), x, a)
    return dx, da, db


@op(outputs=("merged",), grads=(), shapes="weight (I, O), a (I, r), b (r, O)")
def merge_lora(weight: Array, a: Array, b: Array, scale: float) -> Array:
    """Add an adapter to the matrix that it adapts: weight + scale (a b), with scale = alpha / rank.

    weight (n_in, n_out), a (n_in, r), b (r, n_out) -> (n_in, n_out). (Hu et al., "LoRA", 2021, section 4.1.)
    """
    return weight + float(scale) * (a @ b)  # not matmul, whose factors may be rounded to bfloat16
