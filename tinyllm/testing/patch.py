"""Provide test cases, common mistakes and correct variants for cutting pictures and placing vectors."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import CASES, axis, cases, floats, scores, sizes
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import PURE

few = axis(2, 1, 3, 0)


@cases("patches")
def patches(draw):
    """Draw pictures, most of them not square, and the side of squares that fill each picture exactly."""
    side = draw(st.sampled_from((2, 1, 3, 4)))
    rows, columns = draw(axis((2, 3), (3, 2), (1, 1), (2, 2), (1, 4), (0, 2)))
    return floats(draw, (draw(few), side * rows, side * columns, draw(st.sampled_from((3, 1, 2))))), side


@cases("place")
def place(draw):
    """Draw vectors of a text, some of them infinite, a mask of places, and a new vector for each place."""
    B, T, C = draw(few), draw(sizes), max(draw(sizes), 1)  # reshape(-1, 0) raises an error in NumPy
    at = np.array(draw(st.lists(st.booleans(), min_size=B * T, max_size=B * T)), bool).reshape(B, T)
    return scores(draw, (B, T, C)), floats(draw, (int(at.sum()), C)), at


CASES["place_backward"] = place().map(lambda args: args[::2])

SQUARES = "squares.swapaxes(2, 3)"
mistake("patches", "squares from top to bottom, then from left to right", SQUARES,
        "squares.transpose(0, 3, 1, 2, 4, 5)")
mistake("patches", "squares whose rows and columns are exchanged", SQUARES,
        "squares.transpose(0, 1, 3, 4, 2, 5)")
mistake("patches", "all reds of a square, then all greens, then all blues", SQUARES,
        "squares.transpose(0, 1, 3, 5, 2, 4)")
mistake("patches", "every side-th dot, so that each patch is a small copy of the whole picture", SQUARES,
        "pictures.reshape(B, side, H // side, side, W // side, K).transpose(0, 2, 4, 1, 3, 5)")
mistake("place", "the vectors at the beginning, wherever the places are", "y[at] = vectors",
        "y.reshape(-1, y.shape[2])[: len(vectors)] = vectors")
mistake("place", "vectors in the order of columns, so that rows of the batch get each other's",
        "y[at] = vectors", "y.swapaxes(0, 1)[at.T] = vectors")
mistake("place", "rows that each begin again with the first vector", "y[at] = vectors", """
for row, there in zip(y, at):
    row[there] = vectors[: there.sum()]""")
mistake("place", "x itself, changed in place", "x.copy()", "x", breaks=PURE)
mistake("place_backward", "the gradients of the places that kept their vectors", "dy[at]", "dy[~at]")


@variant("patches")
def patches_by_slices(pictures, side):
    B, H, W, K = pictures.shape
    corners = [(i, j) for i in range(0, H, side) for j in range(0, W, side)]
    squares = [pictures[:, i : i + side, j : j + side].reshape(B, side * side * K) for i, j in corners]
    return np.stack(squares, 1) if squares else np.zeros((B, 0, side * side * K), pictures.dtype)


@variant("place")
def place_by_counting(x, vectors, at):
    y = x.copy()
    for i, (b, t) in enumerate(zip(*np.nonzero(at), strict=True)):
        y[b, t] = vectors[i]
    return y


@variant("place_backward")
def place_backward_by_list(dy, at):
    taken = [dy[b, t] for b, t in zip(*np.nonzero(at), strict=True)]
    return np.where(at[..., None], dy.dtype.type(0), dy), np.array(taken, dy.dtype).reshape(-1, dy.shape[2])
