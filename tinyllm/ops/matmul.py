"""Multiply matrices: matmul, and linear, which is matmul with weights and a bias.

`use(matmul="bf16")` is mixed precision: both operands of every product are rounded to bfloat16, while sums
and biases stay float32. Ops that multiply matrices follow this choice.
"""

from typing import Any

import numpy as np

from tinyllm.ops.autograd import sum_to_shape
from tinyllm.ops.elementwise import gelu_tanh, gelu_tanh_backward
from tinyllm.ops.lowp import round_bf16
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, linear_flops, rows

LAYER = "x (..., I), w (I, O), b (O,)"


def check_matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> None:
    """Raise ValueError unless the inner sizes of the two matrices are the same."""
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(f"needs two axes or more, got {a.shape} and {b.shape}; add one with x[None]")
    if a.shape[-2 if transpose_a else -1] != b.shape[-1 if transpose_b else -2]:
        left = a.shape[:-3:-1] if transpose_a else a.shape[-2:]
        right = b.shape[:-3:-1] if transpose_b else b.shape[-2:]
        raise ValueError(f"cannot multiply {left} by {right}: columns must match rows")


def check_matmul_backward(dy: Array, a: Array, b: Array, transpose_a: bool = False,
                          transpose_b: bool = False) -> None:
    """Raise ValueError unless dy has the shape of the product."""
    check_matmul(a, b, transpose_a, transpose_b)
    lead = a.shape[:-2] if a.shape[:-2] == b.shape[:-2] else np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y_shape = (*lead, a.shape[-1 if transpose_a else -2], b.shape[-2 if transpose_b else -1])
    if dy.shape != y_shape:
        raise ValueError(f"needs dy of the product's shape {y_shape}, got {dy.shape}")


def matmul_flops(args: dict[str, Any], y: Array) -> int:
    """Count 2 K operations for each output, because K numbers are multiplied and added."""
    return 2 * y.size * args["a"].shape[-2 if args["transpose_a"] else -1]


@op(grads=("a", "b"), check=check_matmul, flops=matmul_flops)
def matmul(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """Multiply matrices: each output is the dot product of a row of a and a column of b.

    a (..., M, K), b (..., K, N) -> (..., M, N); leading axes broadcast. With transpose_a, a is (..., K, M)
    and is read as its transpose; likewise b. Raises ValueError when the inner sizes differ.
    """
    left = a.swapaxes(-1, -2) if transpose_a else a
    right = b.swapaxes(-1, -2) if transpose_b else b
    return left @ right


@op(check=check_matmul_backward, follows="matmul")
def matmul_backward(dy: Array, a: Array, b: Array, transpose_a: bool = False,
                    transpose_b: bool = False) -> tuple[Array, Array]:
    """Compute the gradients of matmul: dA = dY B^T and dB = A^T dY.

    dy (..., M, N), a and b as in matmul -> da, db of a's and b's shape, summed over broadcast axes.
    """
    a_shape = a.shape
    if b.ndim == 2 and not transpose_a:  # all rows of a use the same b, so one product sums db over them
        dy, a = rows(dy), rows(a)
    if transpose_a:  # a holds A^T, and (dY B^T)^T = B dY^T
        da = matmul(b, dy, transpose_a=transpose_b, transpose_b=True)
    else:
        da = matmul(dy, b, transpose_b=not transpose_b)
    if transpose_b:
        db = matmul(dy, a, transpose_a=True, transpose_b=transpose_a)
    else:
        db = matmul(a, dy, transpose_a=not transpose_a)
    return sum_to_shape(da, a.shape).reshape(a_shape), sum_to_shape(db, b.shape)


@op(grads=("x", "w", "b"), shapes=LAYER, flops=linear_flops, follows="matmul")
def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    """Multiply every row by a weight matrix and add a bias: y = x W + b.

    x (..., I), w (I, O), b (O,) or None -> (..., O). Raises ValueError when the sizes do not fit.
    """
    y = matmul(rows(x), w).reshape(*x.shape[:-1], w.shape[1])
    return y if b is None else y + b


@op(shapes="dy (..., O), x (..., I), w (I, O)", follows="matmul")
def linear_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """Compute the gradients of linear: dx = dy W^T, dW = x^T dy, db = the sum of dy over all rows."""
    dx = matmul(rows(dy), w, transpose_b=True).reshape(x.shape)
    dw = matmul(rows(x), rows(dy), transpose_a=True)
    return dx, dw, rows(dy).sum(axis=0)


@op(outputs=("y", "h"), grads=("x", "w", "b"), shapes=LAYER, flops=linear_flops, follows="matmul")
def linear_gelu(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Array]:
    """Apply a layer and its activation in one pass: y = gelu_tanh(h), h = x W + b.

    x (..., I), w (I, O), b (O,) or None -> y, h, both (..., O). The backward pass needs h. Raises ValueError
    when the sizes do not fit.
    """
    h = linear(x, w, b)
    return gelu_tanh(h), h


@op(shapes="dy (..., O), x (..., I), w (I, O), h (..., O)", follows="matmul")
def linear_gelu_backward(dy: Array, x: Array, w: Array, h: Array) -> tuple[Array, Array, Array]:
    """Compute the gradients of linear_gelu: go back through gelu_tanh at h, then through linear."""
    return linear_backward(gelu_tanh_backward(dy, h), x, w)


def matmul_bf16(a: Array, b: Array, transpose_a: bool = False, transpose_b: bool = False) -> Array:
    """Round matrices to bfloat16 and multiply them, where no kernel does that."""
    return matmul.reference(round_bf16(a), round_bf16(b), transpose_a, transpose_b)


matmul.implementations.setdefault("bf16", matmul_bf16)
