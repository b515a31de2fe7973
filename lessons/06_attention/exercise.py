"""Lesson 6. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 6`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def attention(q, k, v, causal=True, lengths=None):
    """Return for every query a mean of the values, weighted by softmax(q . k /
    sqrt(D)).

    q (B, S, H, D), k and v (B, T, K, D) -> y (B, S, H, D), lse (B, H, S), the
    log-sum-exp of each query's scores. The queries are the last S of the T
    tokens; causal hides the keys after a query's own token; without it, a query
    sees all keys of its row. Query head h reads kv head h // (H / K). With
    lengths (B,), row b has only its first lengths[b] keys, and its queries are
    the last S of these tokens. A query that sees no key gets y = 0 and lse =
    -inf. The values of hidden keys must be finite.
    """
    raise NotImplementedError


def rope_tables(positions, width, base=10000.0):
    """Tabulate the cosine and sine of position * base^(-2i / width), for pair
    i = 0 .. width/2 - 1.

    positions (T,) or (B, T) ints -> cos, sin (T, width/2) or (B, T, width/2)
    float32, from angles in float64.
    """
    raise NotImplementedError


def rope(x, cos, sin):
    """Turn channels (i, i + D/2) of every token as one pair, by the tabulated
    angles.

    x (B, T, H, D), cos and sin (T, D/2) -> (B, T, H, D); or cos and sin
    (B, T, D/2), where rows stand at positions of their own.
    """
    raise NotImplementedError
