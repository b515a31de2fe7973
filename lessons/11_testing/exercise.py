"""Lesson 11. Write three property tests; then run `tinyllm check 11`.

Each gets an implementation, right or wrong, calls it with inputs of its own
choosing, and asserts what must be true of every right one. NumPy is all you
need. Keep inputs small: at most 2,000 numbers each.
"""

import numpy as np


def test_softmax(softmax):
    """Test softmax(x), along the last axis, as lesson 4 defined it.

    x (..., n) -> y (..., n), float32. A row of nothing but -inf gives zeros.
    The input comes back untouched.
    """
    raise NotImplementedError


def test_attention(attention):
    """Test attention(q, k, v, causal=True, lengths=None), as in lesson 6.

    q (B, S, H, D), k and v (B, T, K, D) -> y (B, S, H, D), lse (B, H, S), the
    log-sum-exp of each query's scores, which are q . k / sqrt(D). The queries
    are the last S of the T tokens; causal hides the keys after a query's own
    token. Query head h reads kv head h // (H / K). With lengths (B,), row b has
    only its first lengths[b] keys, and its queries are the last S of these
    tokens. A query that sees no key gets y = 0 and lse = -inf.
    """
    raise NotImplementedError


def test_bpe_merge(bpe_merge):
    """Test bpe_merge(ids, pair, new_id), as lesson 2 defined it.

    ids: n tokens -> the list with every occurrence of the pair replaced, from
    left to right. A token is used once: (5, 5, 5) becomes [new, 5]. The input
    comes back untouched.
    """
    raise NotImplementedError
