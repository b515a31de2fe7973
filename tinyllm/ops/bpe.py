"""Learn byte pair encoding: repeatedly join the pair of neighbouring tokens that occurs most often.

Gage, "A new algorithm for data compression", 1994; Sennrich, Haddow and Birch, "Neural machine translation
of rare words with subword units", ACL 2016, section 3.2; over bytes: Radford et al., "Language models are
unsupervised multitask learners" (GPT-2), 2019, section 2.2.

A token is an integer. Tokens 0 to 255 are the bytes; token 256 is the first pair that was learnt, 257 the
second, and so on. A *piece* is a short part of a text, such as a word; a token never spans two pieces. A
piece can be a `bytes` object, because its items are integers. `merges` is a dict {(left, right): new token},
in the order of learning.

These four functions are simple, but slow: training counts all pairs again after every merge. The
kernels (csrc/bpe/) give the same results, but update only what the last merge changed.
"""

from collections.abc import Sequence
from itertools import pairwise

from tinyllm.ops.registry import op

BYTES = 256  # the first tokens are the bytes, so any text can be written before anything is learnt


@op
def bpe_pair_counts(pieces: Sequence[Sequence[int]], counts: Sequence[int]) -> dict[tuple[int, int], int]:
    """Count how often each pair of neighbouring tokens occurs.

    pieces: N sequences of tokens, counts: how often each piece occurs in the text -> {(left, right): count}.
    Neighbours overlap: (5, 5, 5) holds the pair (5, 5) twice.
    """
    totals: dict[tuple[int, int], int] = {}
    for ids, count in zip(pieces, counts, strict=True):
        for pair in pairwise(ids):
            totals[pair] = totals.get(pair, 0) + count
    return totals


@op
def bpe_merge(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Replace every occurrence of a pair by one new token, from left to right.

    ids: n tokens, none of them new_id -> list of at most n tokens. A token is used once: (5, 5, 5) becomes
    [new_id, 5].
    """
    left, right = pair
    merged = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and ids[i] == left and ids[i + 1] == right:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


@op
def bpe_train(pieces: Sequence[Sequence[int]], counts: Sequence[int],
              n_merges: int) -> dict[tuple[int, int], int]:
    """Learn merges: find the pair that occurs most often, make it a token, and repeat.

    pieces: N sequences of bytes, counts: how often each piece occurs (at least 1) -> {(left, right): new
    token}. New tokens are numbered from 256; there are n_merges of them, or fewer if every piece has become a
    single token. Of pairs with equal counts the smallest wins, so the result depends only on the counts.
    """
    merges = {}
    for new_id in range(BYTES, BYTES + n_merges):
        totals = bpe_pair_counts(pieces, counts)
        if not totals:
            break
        best = min(totals, key=lambda pair: (-totals[pair], pair))
        merges[best] = new_id
        pieces = [bpe_merge(ids, best, new_id) for ids in pieces]
    return merges


@op
def bpe_encode(ids: Sequence[int], merges: dict[tuple[int, int], int]) -> Sequence[int]:
    """Encode a piece as tokens: repeat the merges in the order in which they were learnt.

    ids: n bytes, merges: {(left, right): new token} -> list of at most n tokens. The pair that was learnt
    first, that of the smallest new token, is merged first, wherever it stands, because training did the same.
    """
    ids = list(ids)
    while True:
        known = [pair for pair in pairwise(ids) if pair in merges]
        if not known:
            return ids
        first = min(known, key=lambda pair: merges[pair])
        ids = bpe_merge(ids, first, merges[first])
