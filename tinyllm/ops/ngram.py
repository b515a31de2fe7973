"""Count which token follows which (the bigram model); measure models by entropy, perplexity and pass@k.

Shannon, "A Mathematical Theory of Communication", 1948, section 3 (counting) and section 6 (entropy); Chen et
al., "Evaluating Large Language Models Trained on Code", 2021, section 2.1 (pass@k).
"""

import math
from collections.abc import Sequence

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, ids_below


@op
def bigram_counts(ids: Array, vocab_size: int) -> Array:
    """Count for each pair of tokens how often the second follows the first.

    ids (n,) ints -> counts (vocab_size, vocab_size) int64; counts[a, b] is how often b comes right after a.
    Raises IndexError when an id is outside 0..vocab_size-1.
    """
    ids_below("bigram_counts", ids, vocab_size)
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts


@op
def entropy(p: Array) -> Array:
    """Compute the entropy of probabilities in nats: the sum of -p ln p, where 0 ln 0 is 0.

    p (..., n), rows that sum to 1 -> (...); 0 for certainty, ln n when all n are equally likely.
    """
    safe = np.where(p > 0, p, 1)  # ln 1 is 0, the right term where p is 0
    return (p * -np.log(safe)).sum(axis=-1)


@op
def perplexity(p: Array) -> Array:
    """Compute the perplexity of a model: exp of the mean of -ln p.

    p (n,), the probability that the model gave to each token of a text -> (). A guess between k equally
    likely tokens has perplexity k; 1 is perfect. Perplexity is infinite if some p is 0, and 1 for n = 0.
    """
    with np.errstate(divide="ignore"):
        return np.exp(-np.log(p).sum() / max(p.size, 1))


@op
def pass_at_k(passed: Sequence[int], n: int, k: int) -> float:
    """Estimate, without bias, the chance that at least one of k samples for a problem passes its tests.

    passed: for each problem (there is at least one), how many of its n samples passed -> the mean over the
    problems of

        1 - C(n - passed, k) / C(n, k)

    where C(a, b) is the number of ways to choose b of a things, 0 if b > a. Of all ways to choose k of the n
    samples, this is the share in which at least one passed. Raises ValueError unless 1 <= k <= n, and there
    are problems with 0 <= passed <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass_at_k needs 1 <= k <= n, got k = {k}, n = {n}")
    if not passed or not 0 <= min(passed) <= max(passed) <= n:
        raise ValueError(f"pass_at_k needs problems of which 0 to {n} samples passed, got {passed}")
    shares = [1 - math.comb(n - c, k) / math.comb(n, k) for c in passed]
    return sum(shares) / len(shares)
