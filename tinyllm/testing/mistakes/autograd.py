"""Mistakes in the chain rule and in undoing broadcasting."""

import numpy as np

from tinyllm.ops.autograd import backpropagate
from tinyllm.testing.mistake import mistake

right = backpropagate.reference


@mistake("backpropagate", "gradients of which the last use wins: a node that is used twice must add both")
def overwrites(local):
    gradients = np.zeros(len(local), local.dtype)
    gradients[-1:] = 1
    for i in range(len(local) - 1, -1, -1):
        used = local[i, :i] != 0
        gradients[:i][used] = gradients[i] * local[i, :i][used]
    return gradients


@mistake("backpropagate", "gradients that a node passes on before all of its users have given it theirs")
def too_early(local):
    gradients = np.zeros(len(local), local.dtype)
    gradients[-1:] = 1
    todo, seen = list(range(len(local)))[-1:], set()
    while todo:
        i = todo.pop(0)
        gradients[:i] += gradients[i] * local[i, :i]
        used = [j for j in range(i) if local[i, j] != 0 and j not in seen]
        seen.update(used)
        todo += used
    return gradients


@mistake("backpropagate", "the derivatives of the last node alone, without those of the nodes that it uses")
def one_step(local):
    gradients = np.array(local[-1]) if len(local) else np.zeros(0, local.dtype)
    gradients[-1:] = 1
    return gradients


@mistake("backpropagate", "local derivatives added along the path: the chain rule multiplies them")
def adds_along_the_path(local):
    gradients = np.zeros(len(local), local.dtype)
    gradients[-1:] = 1
    for i in range(len(local) - 1, -1, -1):
        gradients[:i] += np.where(local[i, :i] != 0, gradients[i] + local[i, :i], 0)
    return gradients


@mistake("backpropagate", "a gradient of 0 for the last node, whose gradient with respect to itself is 1")
def zero_at_the_end(local):
    gradients = right(local)
    gradients[-1:] = 0
    return gradients


@mistake("backpropagate", "the transposed table: local[j, i] where local[i, j] belongs")
def transposed(local):
    return right(np.ascontiguousarray(local.T))


@mistake("backpropagate", "gradients of the first node with respect to all others")
def from_the_other_end(local):
    return right(np.ascontiguousarray(local[::-1, ::-1].T))[::-1].copy()


@mistake("backpropagate", "gradients that start from 1 at every node, as if all of them were the result")
def every_node_a_result(local):
    gradients = np.ones(len(local), local.dtype)
    for i in range(len(local) - 1, -1, -1):
        gradients[:i] += gradients[i] * local[i, :i]
    return gradients


def undone(dy, shape, how):
    """Undo broadcasting with another reduction than the sum."""
    dy = how(dy, axis=tuple(range(dy.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return how(dy, axis=axes, keepdims=True) if axes else dy


@mistake("sum_to_shape", "the mean over the stretched axes, where the sum belongs")
def takes_the_mean(dy, shape):
    return undone(dy, shape, np.mean).astype(dy.dtype)


@mistake("sum_to_shape", "the first copy's gradient: every copy has a say")
def takes_the_first(dy, shape):
    dy = dy[(0,) * (dy.ndim - len(shape))]
    return np.array(dy[tuple(slice(0, n) if n == 1 else slice(None) for n in shape)])


@mistake("sum_to_shape", "a gradient that is not summed at all")
def leaves_it(dy, shape):
    return np.array(dy)


@mistake("sum_to_shape", "a sum over the new axes in front only, not over those stretched from 1")
def only_the_new_axes(dy, shape):
    return dy.sum(axis=tuple(range(dy.ndim - len(shape))))


@mistake("sum_to_shape", "sums without keepdims, so that the axes of length 1 are lost")
def loses_axes(dy, shape):
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))


@mistake("sum_to_shape", "a sum over the last axes, where broadcasting adds axes in front")
def counts_from_the_wrong_end(dy, shape):
    extra = dy.ndim - len(shape)
    return dy.sum(axis=tuple(range(len(shape), len(shape) + extra)))


@mistake("sum_to_shape", "the sum over everything, spread over the shape")
def sums_everything(dy, shape):
    return np.full(shape, dy.sum(), dy.dtype)


@mistake("sum_to_shape", "the first of the new axes in front, and a sum over the others: all are copies")
def takes_the_first_of_the_new_axes(dy, shape):
    dy = dy[(0,) * (dy.ndim - len(shape))]
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
