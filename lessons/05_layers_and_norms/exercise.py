"""Lesson 5. Replace each `raise NotImplementedError` by your own code; then run `tinyllm check 5`."""

import numpy as np


def linear(x, w, b=None):
    """Apply a linear layer: every output is a weighted sum of the inputs, plus a bias.

    x (..., I), w (I, O), b (O,) or None -> (..., O).
    """
    raise NotImplementedError


def gelu_tanh(x):
    """Approximate gelu by a tanh, as GPT-2 does.

    x (...) -> (...); as accurate as float32 allows for every finite x, and no warning or NaN for huge ones.
    """
    raise NotImplementedError


def embedding(w, ids):
    """Look up each id's row of the table: w (V, C), ids (...) ints -> (..., C)."""
    raise NotImplementedError


def layernorm(x, w, b, eps=1e-5):
    """Give every row mean 0 and variance 1, then a learnt scale w and shift b.

    x (..., C), w (C,), b (C,) -> y (..., C), mean (...), rstd (...), where rstd is 1 / sqrt(variance + eps).
    """
    raise NotImplementedError


def layernorm_backward(dy, x, w, mean, rstd):
    """Carry a gradient back through layernorm.

    dy, x (..., C), w (C,), mean, rstd (...) -> dx (..., C), dw (C,), db (C,).
    """
    raise NotImplementedError


def rmsnorm(x, w, eps=1e-5):
    """Scale every row to root mean square 1, then by learnt weights.

    x (..., C), w (C,) -> y (..., C), rstd (...), where rstd is 1 / sqrt(mean square + eps).
    """
    raise NotImplementedError
