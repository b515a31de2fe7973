"""Right solutions of the ops in autograd.py, written differently."""

import numpy as np

from tinyllm.testing.alternative import alternative


@alternative
def backpropagate_by_nodes(local):
    n = len(local)
    gradients = [0.0] * n
    for j in reversed(range(n)):
        gradients[j] = 1.0 if j == n - 1 else sum(gradients[i] * float(local[i, j]) for i in range(j + 1, n))
    return np.array(gradients, local.dtype)


@alternative
def backpropagate_by_solving(local):
    if not len(local):
        return np.zeros(0, local.dtype)
    last = np.zeros(len(local))
    last[-1] = 1
    return np.linalg.solve(np.eye(len(local)) - local.T.astype(np.float64), last).astype(local.dtype)


@alternative
def backpropagate_by_paths(local):
    step = np.zeros(len(local), local.dtype)
    step[-1:] = 1
    total = np.zeros_like(step)
    for _ in range(len(local)):  # all paths of one length after another
        total += step
        step = step @ local
    return total


@alternative
def sum_to_shape_by_one_axis_at_a_time(dy, shape):
    while dy.ndim > len(shape):
        dy = dy.sum(axis=0)
    for axis, n in enumerate(shape):
        if n == 1:
            dy = dy.sum(axis=axis, keepdims=True)
    return dy


@alternative
def sum_to_shape_by_a_scatter(dy, shape):
    padded = (1,) * (dy.ndim - len(shape)) + shape
    out = np.zeros(padded, dy.dtype)
    place = np.broadcast_to(np.arange(out.size).reshape(padded), dy.shape)
    np.add.at(out.reshape(-1), place.reshape(-1), dy.reshape(-1))
    return out.reshape(shape)


@alternative
def sum_to_shape_by_reshaping(dy, shape):
    padded = (1,) * (dy.ndim - len(shape)) + shape
    axes = tuple(i for i, n in enumerate(padded) if n == 1)
    return dy.sum(axis=axes).reshape(shape)
