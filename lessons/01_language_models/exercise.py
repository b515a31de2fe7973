"""Lesson 1. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 1`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def bigram_counts(ids, vocab_size):
    """Count for each pair of tokens how often the second follows the first.

    ids (n,) ints -> counts (vocab_size, vocab_size) int64; counts[a, b] is how
    often b comes right after a. Every id is in 0..vocab_size-1. A text of one
    token or none has no pairs.
    """
    raise NotImplementedError


def entropy(p):
    """Compute the entropy of probabilities in nats: the sum of -p ln p,
    where 0 ln 0 is 0.

    p (..., n), rows that sum to 1 -> (...); 0 for certainty, ln n when all n
    are equally likely.
    """
    raise NotImplementedError


def perplexity(p):
    """Compute the perplexity of a model: exp of the mean of -ln p.

    p (n,), the probability that the model gave to each token of a text -> (). A
    guess between k equally likely tokens has perplexity k; 1 is perfect.
    Perplexity is infinite if some p is 0, and 1 for n = 0.
    """
    raise NotImplementedError


def sample(probs, u):
    """Draw a token: the smallest id at which the running sum of probabilities
    exceeds u times the total.

    probs (..., V), u (...) in [0, 1) -> ids (...) int64. A token of probability
    0 is never drawn. Sums are float64.
    """
    raise NotImplementedError
