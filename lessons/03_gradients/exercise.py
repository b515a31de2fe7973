"""Lesson 3. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 3`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def backpropagate(local):
    """Compute, in a graph of scalars, the gradient of the last node with
    respect to every node.

    local (N, N) -> gradients (N,). local[i, j] is the derivative of node i with
    respect to its input node j, and 0 where node i does not use node j. Nodes
    only use earlier nodes. The gradient of the last node with respect to itself
    is 1. For N = 0 the result is empty.
    """
    raise NotImplementedError


def sum_to_shape(dy, shape):
    """Undo broadcasting in a gradient: sum over the axes along which the input
    was stretched.

    dy (...) -> shape, the shape of the input. Broadcasting uses an element
    several times, and its gradient is the sum over all uses. If nothing was
    stretched, dy itself is returned.
    """
    raise NotImplementedError


def silu_backward(dy, x):
    """Carry a gradient back through silu, which is x sigmoid(x).

    dy, x (...) -> (...). No finite x is too large for it.
    """
    raise NotImplementedError


def matmul_backward(dy, a, b, transpose_a=False, transpose_b=False):
    """Carry a gradient back through y = a b, where either may have been taken
    transposed.

    dy (..., M, N), a (..., M, K) or, transposed, (..., K, M), b (..., K, N) or,
    transposed, (..., N, K) -> da, db of a's and b's shape, summed over
    broadcast axes. Transposing swaps the last two axes.
    """
    raise NotImplementedError
