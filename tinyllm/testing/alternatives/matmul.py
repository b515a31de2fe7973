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


@alternative
def linear_by_columns(x, w, b=None):
    columns = [(x * w[:, j]).sum(axis=-1) + (0 if b is None else b[j]) for j in range(w.shape[1])]
    return np.stack(columns, axis=-1) if columns else np.zeros((*x.shape[:-1], 0), x.dtype)


def undo(gradient, shape):
    """Sum over the leading axes that were broadcast."""
    extra = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(extra)))
    return gradient.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True).reshape(shape)


def plain_gradients(dy, a, b):
    """The gradients of y = a b, without flags."""
    return undo(dy @ b.swapaxes(-1, -2), a.shape), undo(a.swapaxes(-1, -2) @ dy, b.shape)


@alternative
def matmul_backward_by_turning_twice(dy, a, b, transpose_a=False, transpose_b=False):
    def turned(x, turn):
        return x.swapaxes(-1, -2).copy() if turn else x

    da, db = plain_gradients(dy, turned(a, transpose_a), turned(b, transpose_b))
    return turned(da, transpose_a), turned(db, transpose_b)


@alternative
def matmul_backward_by_einsum(dy, a, b, transpose_a=False, transpose_b=False):
    left, right = "ki" if transpose_a else "ik", "jk" if transpose_b else "kj"
    da = np.einsum(f"...ij,...{right}->...{left}", dy, b)
    db = np.einsum(f"...ij,...{left}->...{right}", dy, a)
    return undo(da, a.shape), undo(db, b.shape)


@alternative
def matmul_backward_by_float64(dy, a, b, transpose_a=False, transpose_b=False):
    dy, wide_a, wide_b = (x.astype(np.float64) for x in (dy, a, b))
    turned_a = wide_a.swapaxes(-1, -2) if transpose_a else wide_a
    turned_b = wide_b.swapaxes(-1, -2) if transpose_b else wide_b
    da, db = dy @ turned_b.swapaxes(-1, -2), turned_a.swapaxes(-1, -2) @ dy
    da, db = (da.swapaxes(-1, -2) if transpose_a else da), (db.swapaxes(-1, -2) if transpose_b else db)
    return undo(da, a.shape).astype(a.dtype), undo(db, b.shape).astype(b.dtype)
