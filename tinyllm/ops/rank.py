"""Rank documents for a query, models by who wins, and a text among others that a model might have seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(outputs=("scores",))
def bm25_scores(documents: Sequence[Sequence[Any]], query: Sequence[Any], k1: float = 1.5,
                b: float = 0.75) -> Array:
    """Score how well each document fits a query: rare words count more, long documents less.

    documents: N lists of words or tokens, query: a list of them -> (N,) float32, the sum over the words of
    the query, each as often as it occurs there, of

        idf tf / (tf + k1 (1 - b + b length / mean length))    idf = ln(1 + (N - df + 0.5) / (df + 0.5))

    tf: how often the document has the word; df: how many documents have it. A word that a document lacks
    adds 0. Raises ValueError unless k1 >= 0 and 0 <= b <= 1. (Robertson and Zaragoza 2009, with the idf of
    Lucene, which is never negative, and without the constant factor k1 + 1; "lucene" in bm25s.)
    """
    if not (k1 >= 0 and 0 <= b <= 1):
        raise ValueError(f"bm25_scores needs k1 >= 0 and 0 <= b <= 1, got k1 = {k1}, b = {b}")
    N, lengths = len(documents), np.array([len(document) for document in documents], np.float64)
    found = [[document.count(word) for word in query] for document in documents]
    tf = np.array(found, np.float64).reshape(N, len(query))
    df = (tf > 0).sum(axis=0)
    idf = np.log(1 + (N - df + 0.5) / (df + 0.5))
    relative = lengths * N / max(lengths.sum(), 1)  # to the mean length; 0 if all are empty
    damped = tf + k1 * (1 - b + b * relative)[:, None]
    return (idf * tf / np.where(tf > 0, damped, 1)).sum(axis=1).astype(np.float32)


@op(outputs=("strengths",), grads=(), shapes="wins (n, n), strengths (n)")
def bradley_terry_step(wins: Array, strengths: Array) -> Array:
    """Improve estimates of how strong players are, so that i beats j with probability s_i / (s_i + s_j).

    wins (n, n), wins[i, j] is how often i beat j, a draw is half a win of each; strengths s (n,), at least
    0 -> (n,), divided by their sum:

        new s_i = wins of i / sum over j of (games of i with j) / (s_i + s_j)

    All strengths are replaced at once; players without games keep theirs. Repeated, the steps reach the
    likeliest strengths. Raises ValueError if a strength is below 0. (Hunter 2004, "MM algorithms".)
    """
    if np.any(strengths < 0):
        raise ValueError(f"bradley_terry_step needs strengths of at least 0, got {strengths}")
    games, pairs = wins + wins.T, strengths[:, None] + strengths
    shares = np.divide(games, pairs, out=np.zeros_like(pairs), where=games > 0)  # two zeros never met
    due = shares.sum(axis=1)
    new = np.divide(wins.sum(axis=1), due, out=np.array(strengths), where=due > 0)
    return new / new.sum()


@op(outputs=("bits",), grads=(), shapes="losses (N), canaries (M)")
def exposure(losses: Array, canaries: Array) -> Array:
    """Return how many bits a model gives away about texts that were planted in its training data: canaries.

    losses (N,) of N texts that were not planted, but could have been; canaries (M,), the losses of M texts
    that were -> (M,), log2(N + 1) - log2(rank). The rank of a canary is its place among the N texts and
    itself, 1 for the smallest loss; of equal losses the canary is last. 0 bits: unknown; log2(N + 1): the
    first guess. (Carlini et al., "The secret sharer", 2019, section 4.2.)
    """
    rank = 1 + np.searchsorted(np.sort(losses), canaries, side="right")
    return np.log2((len(losses) + 1) / rank).astype(canaries.dtype)
