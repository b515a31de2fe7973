"""Lesson 40. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 40`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def coupled_acceptance(p, q):
    """Return how likely it is that one random number draws the same token from
    two distributions.

    p (..., V) and q (..., V), probabilities -> (...). `sample` gives each token
    a part of the line from 0 to 1, one after the other in the order of the ids,
    as long as the token is likely.
    """
    raise NotImplementedError


def speculative_accept(p, q, tokens, u):
    """Keep the first tokens that a draft proposes, and draw the one after them.

    q (n, V), the draft's probabilities; tokens (n,), drawn from them; p (n + 1,
    V), the model's in the same places and in the next one; u (n + 1,) in [0, 1)
    -> int64 (k + 1,), the k tokens that are kept and a new one.

    Token i is decided by u_i, the new token is drawn by u_n, both in float64.
    """
    raise NotImplementedError
