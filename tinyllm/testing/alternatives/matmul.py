"""Right solutions of the ops in matmul.py, written differently."""

import numpy as np

from tinyllm.testing.alternative import alternative


@alternative
def matmul_by_einsum(a, b, transpose_a=False, transpose_b=False):
    left, right = "ki" if transpose_a else "ik", "jk" if transpose_b else "kj"
    return np.einsum(f"...{left},...{right}->...ij", a, b)


@alternative
def matmul_by_outer_products(a, b, transpose_a=False, transpose_b=False):
    left, right = (a.swapaxes(-1, -2) if transpose_a else a), (b.swapaxes(-1, -2) if transpose_b else b)
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    y = np.zeros((*lead, left.shape[-2], right.shape[-1]), a.dtype)
    for k in range(left.shape[-1]):
        y += left[..., :, k, None] * right[..., k, None, :]
    return y


@alternative
def linear_by_einsum(x, w, b=None):
    return np.einsum("...i,io->...o", x, w) + (0 if b is None else b)


@alternative
def linear_by_a_column_of_ones(x, w, b=None):
    ones = np.ones((*x.shape[:-1], 1), x.dtype)
    bias = np.zeros(w.shape[1:], w.dtype) if b is None else b
    return np.concatenate([x, ones], axis=-1) @ np.concatenate([w, bias[None]])
