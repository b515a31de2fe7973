"""The chain rule at work: gradients walk back through a graph, and through NumPy's broadcasting.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 1986.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op
def backpropagate(local: Array) -> Array:
    """Carry the gradient of the last node back to every node of a graph of scalars.

    local (N, N) -> gradients (N,). local[i, j] is the derivative of node i with respect to node j by itself,
    0 where node i does not use node j; nodes only use earlier ones, so all else is 0. The gradient of the
    last node with respect to itself is 1; for N = 0 there is none.
    """
    gradients = np.zeros(len(local), local.dtype)
    gradients[-1:] = 1
    for i in range(len(local) - 1, -1, -1):  # when node i's turn comes, all its users have been
        gradients[:i] += gradients[i] * local[i, :i]
    return gradients


@op
def sum_to_shape(dy: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting in a gradient: sum over the axes along which an input of this shape was stretched.

    dy (...) -> shape. The input was used once for every copy, and each copy has a say in its gradient. Where
    nothing was stretched, dy itself comes back.
    """
    if dy.shape == shape:
        return dy
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and dy.shape[i] != 1)
    return dy.sum(axis=stretched, keepdims=True)
