"""The oldest language model: count which token follows which. And how to measure any language model.

Shannon, "A Mathematical Theory of Communication", 1948, section 3 (counting) and section 6 (entropy).
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, ids_below


@op
def bigram_counts(ids: Array, vocab_size: int) -> Array:
    """Count how often each token follows each other one.

    ids (n,) ints -> counts (vocab_size, vocab_size) int64; counts[a, b] is how often b comes right after a.
    Raises IndexError when an id is outside 0..vocab_size-1.
    """
    ids_below("bigram_counts", ids, vocab_size)
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts


@op
def entropy(p: Array) -> Array:
    """Measure how uncertain probabilities leave us, in nats: the sum of -p ln p, where 0 ln 0 is 0.

    p (..., n), rows that sum to 1 -> (...); 0 for certainty, ln n when all n are equally likely.
    """
    safe = np.where(p > 0, p, 1)  # the logarithm of 1 is 0, as it should be for what never happens
    return -(p * np.log(safe)).sum(axis=-1)


@op
def perplexity(p: Array) -> Array:
    """Say between how many equally likely tokens a model was torn, on average: exp of the mean surprise.

    p (n,), the probability that the model had given to each token that came -> (); 1 is perfect, infinite if
    something happened that had probability 0. For n = 0 it is 1.
    """
    with np.errstate(divide="ignore"):
        return np.exp(-np.log(p).sum() / max(p.size, 1))
