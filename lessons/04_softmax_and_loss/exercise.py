"""Lesson 4. Replace each `raise NotImplementedError` by your own code; then run `tinyllm check 4`.

NumPy is all you need. Inputs may have any shape, hold -inf, and must come back as they were.
"""

import numpy as np


def softmax(x):
    """Turn scores into probabilities along the last axis.

    x (..., n) -> y (..., n); every y >= 0, every row sums to 1. A row of nothing but -inf gives zeros.
    """
    raise NotImplementedError


def softmax_backward(dy, y):
    """dy (..., n), y = softmax(x) (..., n) -> dx (..., n)."""
    raise NotImplementedError


def log_softmax(x):
    """Turn scores into log probabilities along the last axis.

    x (..., n) -> y (..., n); exp(y) sums to 1. A row of nothing but -inf stays -inf.
    """
    raise NotImplementedError


def cross_entropy(logits, targets, ignore_index=-100):
    """Average the surprise of the true tokens: the mean of -log softmax(logits)[target].

    logits (..., V), targets (...) ints -> loss () and lse (...), the logarithm of each row's sum of
    exponentials. Targets equal to ignore_index do not count; if none is left, the loss is 0.
    """
    raise NotImplementedError


def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    """dloss (), logits (..., V), targets (...), lse (...) from cross_entropy -> dlogits (..., V)."""
    raise NotImplementedError
