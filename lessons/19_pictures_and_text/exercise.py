"""Lesson 19. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 19`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def patches(pictures, side):
    """Cut pictures into squares, in reading order: from left to right, then
    from top to bottom.

    pictures (B, H, W, K), K numbers for each pixel -> (B, n, side * side * K)
    with n = (H / side) (W / side). The numbers of a square are in the order of
    the picture: by row, by column, by colour. The result is a new array.
    """
    raise NotImplementedError


def place(x, vectors, at):
    """Replace the vectors of x where `at` is True by the given vectors, in
    reading order.

    x (B, T, C), vectors (N, C), at (B, T) booleans, N of them True -> (B, T,
    C).
    """
    raise NotImplementedError


def place_backward(dy, at):
    """Compute the gradients of place: dy goes to dvectors where `at` is True,
    and to dx elsewhere.

    dy (B, T, C), at (B, T) booleans -> dx (B, T, C), dvectors (N, C).
    """
    raise NotImplementedError
