"""Lesson 4. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 4`.

Scores may hold -inf. What you are given must come back as it was. Numbers
with a fraction are float32, and so are results of them.
"""

import numpy as np


def softmax(x):
    """Turn scores into probabilities along the last axis:
    y_i = exp(x_i) / sum_j exp(x_j).

    x (..., n) -> y (..., n); every y >= 0, every row sums to 1 (to 0 where all
    of x is -inf). The largest score is subtracted first: this does not change
    the quotient, and exp can no longer overflow.
    """
    raise NotImplementedError


def softmax_backward(dy, y):
    """Carry a gradient back through softmax.

    dy, y (..., n) -> dx (..., n). y is softmax(x); x itself is not needed.
    """
    raise NotImplementedError


def log_softmax(x):
    """Turn scores into log-probabilities along the last axis:
    y_i = x_i - log sum_j exp(x_j).

    x (..., n) -> y (..., n); exp(y) sums to 1. A row of nothing but -inf stays
    -inf.
    """
    raise NotImplementedError


def cross_entropy(logits, targets, ignore_index=-100):
    """Return the mean of -log p(target) = lse - logit[target] over the targets
    that are not ignored.

    logits (..., V), targets (...) ints -> loss (), lse (...), the log-sum-exp
    of each row, -inf for a row of nothing but -inf. The loss is 0 when every
    target is ignored.
    """
    raise NotImplementedError


def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    """Carry a gradient back through cross_entropy.

    dloss (), logits (..., V), targets (...), lse (...) -> dlogits (..., V);
    rows of ignored targets are 0.
    """
    raise NotImplementedError
