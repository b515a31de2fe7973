"""Lesson 42. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 42`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def quantize_rows(x):
    """Round the inputs of a product to 8 bits, with one scale for each block of
    32 inputs in a row.

    x (..., I) -> q (..., N, 32) int8, scales (..., N) float32, by pack_int8.
    The last block ends with zeros.

    So scale = max |x| / 127, and q = x / scale, rounded, ties to even. A block
    of zeros has scale 0, and one with an infinity or NaN scale NaN and q 0.
    """
    raise NotImplementedError


def linear_int8(x, q, scales, n_out, b=None):
    """Apply a layer of 8-bit weights to every row: y = x W + b, with x rounded
    to 8 bits too.

    x (..., I), q and scales from quantize_int8, n_out = O, b (O,) or None ->
    (..., O).

    q (G, N, 8, 16, 4) int8: q[g, n, j, o, i] belongs to W[32 n + 4 j + i,
    16 g + o], with zeros where I and O end. scales (G, N, 16) uint16: those of
    block n of output 16 g + o, as the upper 16 bits of a float32.
    """
    raise NotImplementedError
