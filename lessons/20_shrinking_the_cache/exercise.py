"""Lesson 20. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 20`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def latent_scores(q, c, w):
    """Compute scores without making keys from latent vectors: multiply the
    queries by w instead.

    q (..., H, D), c (N, L), w (L, H, D) -> short (..., H, L), scores (..., H,
    N). The key of vector n for head h would be c_n @ w[:, h]. short is the
    query times w: its product with c_n equals the product of q and that key.
    Only scores are divided by sqrt(D), where D is the width of the keys.
    """
    raise NotImplementedError


def pack_int8(x):
    """Round every row to whole numbers from -127 to 127, with one scale for the
    row.

    x (..., D) -> q (..., D) int8, scales (...) float32: scale = max |x| / 127,
    q = x / scale rounded to nearest, ties to even; a row of zeros has scale 0.
    A row with an infinity or NaN has scale NaN and q 0, so that results
    computed from it are NaN. float64 is first rounded to float32.
    """
    raise NotImplementedError


def unpack_int8(q, scales):
    """Undo pack_int8: x = q * scale, which differs from the original numbers
    by at most half a scale.

    q (..., D) int8, scales (...) -> x (..., D) float32.
    """
    raise NotImplementedError
