"""Cut pictures into patches, and put the vectors of a picture into the vectors of a text.

Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(shapes="pictures (B, H, W, K)")
def patches(pictures: Array, side: int) -> Array:
    """Cut pictures into squares, in reading order: from left to right, then from top to bottom.

    pictures (B, H, W, K), K numbers for each pixel -> (B, n, side * side * K) with n = (H / side) (W / side).
    The numbers of a square are in the order of the picture: by row, by column, by colour. Raises ValueError
    when squares do not fill a picture.
    """
    B, H, W, K = pictures.shape
    if side < 1 or H % side or W % side:
        raise ValueError(f"patches cannot cut {H} x {W} pixels into squares of {side} x {side}")
    squares = pictures.reshape(B, H // side, side, W // side, side, K)
    count = (H // side) * (W // side)
    return squares.swapaxes(2, 3).copy().reshape(B, count, side * side * K)


@op(grads=("x", "vectors"), shapes="x (B, T, C), vectors (N, C), at (B, T)")
def place(x: Array, vectors: Array, at: Array) -> Array:
    """Replace the vectors of x where `at` is True by the given vectors, in reading order.

    x (B, T, C), vectors (N, C), at (B, T) booleans, N of them True -> (B, T, C). Raises ValueError when the
    number of places is not N.
    """
    if at.dtype != bool:
        raise TypeError(f"place needs booleans, got {at.dtype}")
    if (count := int(at.sum())) != len(vectors):
        raise ValueError(f"place: {len(vectors)} vectors do not fill {count} places")
    y = x.copy()
    y[at] = vectors
    return y


@op(shapes="dy (B, T, C), at (B, T)")
def place_backward(dy: Array, at: Array) -> tuple[Array, Array]:
    """Compute the gradients of place: dy goes to dvectors where `at` is True, and to dx elsewhere."""
    return np.where(at[..., None], dy.dtype.type(0), dy), dy[at]
