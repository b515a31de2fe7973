"""Lesson 5. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 5`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def linear(x, w, b=None):
    """Multiply every row by a weight matrix and add a bias: y = x W + b.

    x (..., I), w (I, O), b (O,) or None -> (..., O).
    """
    raise NotImplementedError


def gelu_tanh(x):
    """Approximate gelu by a tanh:
    y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, as in GPT-2.

    x (...) -> (...). No finite x is too large for it.
    """
    raise NotImplementedError


def embedding(w, ids):
    """Look up the row of the table for each id.

    w (V, C), ids (...) ints -> (..., C).
    """
    raise NotImplementedError


def layernorm(x, w, b, eps=1e-5):
    """Normalise every row to mean 0 and variance 1, then scale and shift it:
    y = (x - mean) rstd w + b.

    x (..., C), w (C,), b (C,) -> y (..., C), mean (...), rstd (...), where
    rstd = 1 / sqrt(variance + eps).
    """
    raise NotImplementedError


def layernorm_backward(dy, x, w, mean, rstd):
    """Carry a gradient back through layernorm.

    dy, x (..., C), w (C,), mean, rstd (...) -> dx (..., C), dw (C,), db (C,).
    """
    raise NotImplementedError


def rmsnorm(x, w, eps=1e-5):
    """Scale every row to root mean square 1, then multiply by learnt weights:
    y = x rstd w.

    x (..., C), w (C,) -> y (..., C), rstd (...), where rstd =
    1 / sqrt(mean(x^2) + eps).
    """
    raise NotImplementedError
