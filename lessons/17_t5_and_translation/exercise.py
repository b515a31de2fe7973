"""Lesson 17. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 17`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.
"""

import numpy as np


def corrupt_spans(tokens, kept, hidden, sentinels):
    """Take spans out of a text, so that the encoder reads the rest and the
    decoder writes the spans.

    tokens (n,), kept (s,), hidden (s,), sentinels (s + 1,), int64 -> what is
    read and what is written, int64. The first kept[0] tokens stay, the next
    hidden[0] go, kept[1] stay, and so on; kept and hidden add up to n, and s is
    1 or more. In what is read, sentinels[i] replaces span i. In what is
    written, sentinels[i] stands before span i, and the last sentinel ends the
    text: [1, 2, 3, 4] with kept [1, 1], hidden [1, 1] and sentinels [99, 98,
    97] gives [1, 99, 3, 98] and [99, 2, 98, 4, 97].
    """
    raise NotImplementedError


def relative_buckets(distance, buckets, max_distance, causal):
    """Map distances to buckets: each short distance has its own bucket, longer
    distances share buckets.

    distance (...), the key's position minus the query's -> (...) int64 below
    `buckets`. With causal, keys before the query use all buckets, and later
    keys fall into bucket 0. Otherwise the first half of the buckets is for keys
    up to the query, the second half for keys after it. Of n buckets, distances
    below e = n // 2 have one each; larger ones share the other buckets, on a
    logarithmic scale. Distance d goes to

        e + (n - e) ln(d / e) / ln(max_distance / e),

    rounded down, but not beyond n - 1. max_distance > e.
    """
    raise NotImplementedError


def beam_step(scores, logprobs, count):
    """Do a step of beam search: find the best ways to continue N beginnings of
    a text by one token.

    scores (N,), the log-probability of each beginning; logprobs (N, V), the
    log-probability of every next token -> beams (the numbers of the
    beginnings) and tokens, both int64, and totals = score + logprob, each (m,),
    the best first; m is the smaller of count and N V. Of equal totals the
    smaller beam comes first, then the smaller id.
    """
    raise NotImplementedError
