"""Lesson 2. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 2`.

A token is an integer, a piece is a sequence of tokens: a list, or bytes, whose
items are integers too. What you are given must come back as it was.
"""


def bpe_pair_counts(pieces, counts):
    """Count how often each pair of neighbouring tokens occurs.

    pieces: N sequences of tokens, counts: how often each piece occurs in the
    text -> {(left, right): count}. Neighbours overlap: (5, 5, 5) holds the pair
    (5, 5) twice.
    """
    raise NotImplementedError


def bpe_merge(ids, pair, new_id):
    """Replace every occurrence of a pair by one new token, from left to right.

    ids: n tokens, none of them new_id -> list of at most n tokens. A token is
    used once: (5, 5, 5) becomes [new_id, 5].
    """
    raise NotImplementedError


def bpe_train(pieces, counts, n_merges):
    """Learn merges: find the pair that occurs most often, make it a token, and
    repeat.

    pieces: N sequences of bytes, counts: how often each piece occurs (at least
    1) -> {(left, right): new token}. New tokens are numbered from 256; there
    are n_merges of them, or fewer if every piece has become a single token. Of
    pairs with equal counts the smallest wins, so the result depends only on the
    counts.
    """
    raise NotImplementedError


def bpe_encode(ids, merges):
    """Encode a piece as tokens: repeat the merges in the order in which they
    were learnt.

    ids: n bytes, merges: {(left, right): new token} -> list of at most n
    tokens. The pair that was learnt first, that of the smallest new token, is
    merged first, wherever it stands, because training did the same.
    """
    raise NotImplementedError
