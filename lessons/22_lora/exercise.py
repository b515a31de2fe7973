"""Lesson 22. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 22`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def low_rank(x, a, b, scale):
    """Compute what an adapter adds to the output of its layer.

    x (..., I), a (I, r), b (r, O) -> (..., O). scale is alpha / r already.
    """
    raise NotImplementedError


def low_rank_backward(dy, x, a, b, scale):
    """Compute the gradients of low_rank with respect to x, a and b.

    dy (..., O), x (..., I), a (I, r), b (r, O) -> dx (..., I), da (I, r), db
    (r, O).
    """
    raise NotImplementedError


def merge_lora(weight, a, b, scale):
    """Add an adapter to the matrix that it adapts.

    weight (n_in, n_out), a (n_in, r), b (r, n_out) -> (n_in, n_out). scale is
    alpha / r already.
    """
    raise NotImplementedError
