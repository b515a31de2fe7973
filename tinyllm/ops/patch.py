"""Turn pictures into rows of vectors: cut a picture into patches, and put the patches into a text.

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


def whole_patches(pictures: Array, side: int) -> None:
    """Raise ValueError unless pictures can be cut into squares of `side` pixels."""
    H, W = np.shape(pictures)[1:3]
    if side < 1 or H % side or W % side:
        raise ValueError(f"cannot cut {H} x {W} dots into squares of {side} x {side}")


@op(shapes="pictures (B, H, W, K)", check=whole_patches)
def patches(pictures: Array, side: int) -> Array:
    """Cut pictures into squares, in reading order: from left to right, then from top to bottom.

    pictures (B, H, W, K), K numbers for each pixel -> (B, n, side * side * K) with n = (H / side) (W / side).
    The numbers of a square are in the order of the picture: by row, by column, by colour. Raises ValueError
    when squares do not fill a picture.
    """
    B, H, W, K = pictures.shape
    squares = pictures.reshape(B, H // side, side, W // side, side, K)
    count = (H // side) * (W // side)
    return squares.swapaxes(2, 3).copy().reshape(B, count, side * side * K)


def enough_vectors(x: Array, vectors: Array, at: Array) -> None:
    """Raise TypeError unless `at` is boolean, ValueError unless it is True as often as there are vectors."""
    if at.dtype != bool:
        raise TypeError(f"place needs booleans, got {at.dtype}")
    if (count := int(at.sum())) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors do not fill {count} places")


@op(grads=("x", "vectors"), shapes="x (B, T, C), vectors (N, C), at (B, T)", check=enough_vectors)
def place(x: Array, vectors: Array, at: Array) -> Array:
    """Replace the vectors of x where `at` is True by the given vectors, in reading order.

    x (B, T, C), vectors (N, C), at (B, T) booleans, N of them True -> (B, T, C). Raises ValueError when the
    number of places is not N.
    """
    y = x.copy()
    y[at] = vectors
    return y


@op(shapes="dy (B, T, C), at (B, T)")
def place_backward(dy: Array, at: Array) -> tuple[Array, Array]:
    """Compute the gradients of place: dy goes to dvectors where `at` is True, and to dx elsewhere.

    dy (B, T, C), at (B, T) booleans -> dx (B, T, C), dvectors (N, C).
    """
    return np.where(at[..., None], dy.dtype.type(0), dy), dy[at]
