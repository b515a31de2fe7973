"""Provide test cases, common mistakes and correct variants for rankings of documents, players and texts."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import CASES, cases, few, ints, seeds, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, of_terms
from tinyllm.testing.edits import mistake, variant

texts = st.lists(st.sampled_from(("a", "b", "a", "c", "d", "e")), max_size=7)
CASES["bm25_scores"] = st.tuples(st.lists(texts, max_size=6), texts, st.sampled_from((1.5, 0.9, 0.0, 3.0)),
                                 st.sampled_from((0.75, 0.4, 0.0, 1.0)))


@cases("bradley_terry_step")
def games(draw):
    """Draw wins of players over each other, some of them halves, and strengths; some players never win."""
    rng, n = Random(draw(seeds), "games"), draw(few)
    wins = rng.integers(draw(st.sampled_from((9, 2))), (n, n)) / draw(st.sampled_from((1, 2)))
    wins[rng.uniform(n) < 0.2] = 0
    np.fill_diagonal(wins, 0)
    strengths = 0.1 + rng.uniform(n) * draw(st.sampled_from((1, 9)))
    return wins.astype(np.float32), strengths.astype(np.float32)


@cases("exposure")
def planted(draw):
    """Draw losses of planted texts and of others: multiples of 1/4, so that many are equal."""
    return tuple((ints(draw, (draw(sizes),), 40) / 4).astype(np.float32) for _ in range(2))


BOUNDS |= {
    "bm25_scores": of_terms(lambda results, documents, query, k1, b: 16 * len(query) * results[0]),
    "bradley_terry_step": of_terms(lambda results, wins, strengths: (3 * len(wins) + 9) * results[0]),
    "exposure": lambda args, results: (4 * EPS * np.log2(len(args[0]) + 2),)}

SCORED = "idf * tf / np.where(tf > 0, damped, 1)"
RANK = "1 + np.searchsorted(np.sort(losses), canaries, side='right')"

mistake("bm25_scores", "the idf of TF-IDF, ln(N / df)", "np.log(1 + (N - df + 0.5) / (df + 0.5))",
        "np.log(N / np.maximum(df, 1))")
mistake("bm25_scores", "the factor k1 + 1 of other variants", SCORED, f"{SCORED} * (k1 + 1)")
mistake("bm25_scores", "df in occurrences, not in documents", "(tf > 0).sum(axis=0)", "tf.sum(axis=0)")
mistake("bradley_terry_step", "the share of games won, whoever the others were",
        "strengths[:, None] + strengths", "np.ones_like(wins)")
mistake("exposure", "equal losses counted for the canary: a model that knows nothing seems to know it", RANK,
        RANK.replace("right", "left"))
mistake("exposure", "the rank from the largest loss down", RANK,
        "1 + np.searchsorted(np.sort(-losses), -canaries, side='right')")
mistake("exposure", "a rank among the other canaries, too", RANK,
        f"{RANK} + (canaries < canaries[:, None]).sum(axis=1)")
mistake("exposure", "nats: the natural logarithm", "np.log2((len(losses) + 1) / rank)",
        "np.log((len(losses) + 1) / rank)")


@variant("bm25_scores")
def bm25_word_by_word(documents, query, k1=1.5, b=0.75):
    scores, mean = np.zeros(len(documents), np.float32), np.mean([len(each) for each in documents] or [1])
    for word in query:
        df = sum(word in document for document in documents)
        for i, document in enumerate(documents):
            if tf := document.count(word):
                weight = tf / (tf + k1 * (1 - b + b * len(document) / mean))
                scores[i] += weight * math.log((len(documents) + 1) / (df + 0.5))
    return scores


def one_by_one(wins, seen, new):
    """Replace the strengths of one player after the other; `seen` are the strengths that all have."""
    for i, row in enumerate(wins + wins.T):
        if row.any():
            new[i] = wins[i].sum() / sum(row[j] / (seen[i] + seen[j]) for j in np.flatnonzero(row))
    return new / new.sum()


variant("bradley_terry_step")(lambda wins, strengths: one_by_one(wins, strengths, np.array(strengths)))
mistake("bradley_terry_step", "strengths replaced one after the other, so that later ones see new ones")(
    lambda wins, strengths: one_by_one(wins, *2 * [np.array(strengths)]))
variant("exposure")(lambda losses, canaries: np.array(
    [math.log2((len(losses) + 1) / (1 + sum(losses <= each))) for each in canaries], canaries.dtype))
