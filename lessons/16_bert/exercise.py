"""Lesson 16. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 16`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def mask_tokens(tokens, draws, how, other, mask, rate):
    """Hide the tokens whose draw is below rate: 80 % become mask, 10 % another
    token, 10 % stay as they are.

    tokens (...) int64; draws and how (...), random numbers from 0 up to 1;
    other (...), random tokens -> seen (...), targets (...) int64. A hidden
    token becomes mask where how < 0.8, else `other` where how < 0.9. Targets
    are the original tokens at all places where a token is hidden, and -100
    elsewhere.
    """
    raise NotImplementedError


def mean_pool(x, lengths):
    """Average the vectors of each text, without those of the padding after it.

    x (B, T, C), lengths (B,) ints from 1 to T -> (B, C), the mean of the first
    lengths[b] positions of text b. The numbers in the padding are never used,
    even if they are NaN.
    """
    raise NotImplementedError


def mean_pool_backward(dy, x, lengths):
    """Divide the gradient of each mean equally among the averaged positions.

    dy (B, C), x (B, T, C), lengths (B,) -> dx (B, T, C): dy / length, and 0 for
    padding.
    """
    raise NotImplementedError


def contrastive_loss(a, b, temperature):
    """Return the loss of finding the partner b[i] of each vector a[i]: the
    mean of -log p(b[i]).

    a (N, C), b (N, C) -> loss (), logits (N, N), lse (N,), the log-sum-exp of
    each row. The logits are the products of every row of a with every row of b,
    divided by temperature; p is their softmax over the rows of b. Without rows
    the loss is 0.
    """
    raise NotImplementedError
