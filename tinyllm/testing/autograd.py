"""Provide test cases, common mistakes and correct variants for the ops backpropagate and sum_to_shape."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import axis, cases, floats, seeds
from tinyllm.testing.bounds import BOUNDS, of_sizes
from tinyllm.testing.edits import mistake, variant


@cases("backpropagate")
def graphs(draw):
    """Draw a computation graph of up to 12 scalars; a node may be used many times, once or never."""
    n = draw(axis(2, 3, 4, 1, 0, 5, 8, 12))
    local = floats(draw, (n, n), ("whole", "normal", "equal", "zero"))
    used = Random(draw(seeds), "graph").uniform((n, n)) < 0.6
    return (np.where(np.tril(used, -1), local, np.float32(0)),)


@cases("sum_to_shape")
def stretched(draw):
    """Draw a gradient, and a shape that broadcasts to the gradient's shape."""
    full = draw(st.lists(axis(2, 3, 1, 0, 4), max_size=4))
    kept = full[draw(st.integers(0, len(full))):]
    shape = tuple(n if draw(st.booleans()) else 1 for n in kept)
    return floats(draw, tuple(full)), shape


BOUNDS |= {
    "backpropagate": of_sizes("backpropagate", lambda local: 4 * (len(local) + 1)),
    "sum_to_shape": of_sizes("sum_to_shape", lambda dy, shape: 1 + dy.size),
}

STEP = "gradients[:i] += gradients[i] * local[i, :i]"
NEW_AXES = "dy.sum(axis=tuple(range(dy.ndim - len(shape))))"
STRETCHED = "dy.sum(axis=stretched, keepdims=True)"

mistake("backpropagate", "gradients of which the last use wins: a node that is used twice must add both",
        STEP, "gradients[:i] = np.where(local[i, :i] != 0, gradients[i] * local[i, :i], gradients[:i])")
mistake("backpropagate", "local derivatives added along the path: the chain rule multiplies them",
        "gradients[i] * local[i, :i]", "np.where(local[i, :i] != 0, gradients[i] + local[i, :i], 0)")
mistake("backpropagate", "a gradient of 0 for the last node, whose gradient with respect to itself is 1",
        "return gradients", "gradients[-1:] = 0\nreturn gradients")
mistake("backpropagate", "gradients of the first node with respect to all others", "",
        "local = local[::-1, ::-1].T", "return gradients", "return gradients[::-1].copy()")
mistake("backpropagate", "gradients of 0 for all nodes but the last: is local[j, i] read for local[i, j], or "
        "is the last node skipped?", STEP, "pass")
mistake("backpropagate", "gradients along direct paths alone: go from the last node to the first, so that "
        "each gradient is complete before it is passed on", "gradients[i] * local[i, :i]",
        "(i == len(local) - 1) * local[i, :i]")
mistake("sum_to_shape", "the first copy's gradient: every copy has a say", NEW_AXES,
        "dy[(0,) * (dy.ndim - len(shape))]", STRETCHED,
        "np.array(dy[tuple(slice(0, n) if n == 1 else slice(None) for n in shape)])")
mistake("sum_to_shape", "a sum over the new axes in front only, not over those stretched from 1", STRETCHED,
        "dy")
mistake("sum_to_shape", "a sum over the last axes, where broadcasting adds axes in front", NEW_AXES,
        "dy.sum(axis=tuple(range(len(shape), dy.ndim)))")
mistake("sum_to_shape", "the sum over everything, spread over the shape", "",
        "return np.full(shape, dy.sum(), dy.dtype)")


@mistake("backpropagate", "gradients that a node passes on before all of its users have given it theirs")
def passed_on_too_early(local):
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


@variant("backpropagate")
def backpropagate_by_solving(local):
    if not len(local):
        return np.zeros(0, local.dtype)
    last = np.zeros(len(local))
    last[-1] = 1
    return np.linalg.solve(np.eye(len(local)) - local.T.astype(np.float64), last).astype(local.dtype)


@variant("sum_to_shape")
def sum_to_shape_by_a_scatter(dy, shape):
    padded = (1,) * (dy.ndim - len(shape)) + shape
    out = np.zeros(padded, dy.dtype)
    place = np.broadcast_to(np.arange(out.size).reshape(padded), dy.shape)
    np.add.at(out.reshape(-1), place.reshape(-1), dy.reshape(-1))
    return out.reshape(shape)
