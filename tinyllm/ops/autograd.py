"""Apply the chain rule to a graph of scalars, and undo NumPy's broadcasting in gradients.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 1986.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op
def backpropagate(local: Array) -> Array:
    """Compute, in a graph of scalars, the gradient of the last node with respect to every node.

    local (N, N) -> gradients (N,). local[i, j] is the derivative of node i with respect to its input node j,
    and 0 where node i does not use node j. Nodes only use earlier nodes. The gradient of the last node with
    respect to itself is 1. For N = 0 the result is empty.
    """
    gradients = np.zeros(len(local), local.dtype)
    gradients[-1:] = 1
    for i in range(len(local) - 1, -1, -1):  # all users of node i come before it in this loop
        gradients[:i] += gradients[i] * local[i, :i]
    return gradients


@op
def sum_to_shape(dy: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting in a gradient: sum over the axes along which the input was stretched.

    dy (...) -> shape, the shape of the input. Broadcasting uses an element several times, and its gradient is
    the sum over all uses. If nothing was stretched, dy itself is returned.
    """
    if dy.shape == shape:
        return dy
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and dy.shape[i] != 1)
    return dy.sum(axis=stretched, keepdims=True)
