"""Score answers, vote, and say how sure a score is; `right` and `labels` are bool, or 0 and 1."""

import math
import re
import string
from collections import Counter
from statistics import NormalDist
from typing import Any

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without ASCII punctuation, then without a, an and the."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


@op
def exact_match(answer: str, truth: str) -> float:
    """Return 1.0 if two answers have the same words in the same order, else 0.0.

    Words are compared in small letters; ASCII punctuation is deleted, then the words a, an and the are left
    out, as is white space. (Rajpurkar et al., "SQuAD", 2016, section 6.1; its evaluation script.)
    """
    return float(words_of(answer) == words_of(truth))


@op
def token_f1(answer: str, truth: str) -> float:
    """Return how many words two answers share, from 0 to 1: twice the shared words / all words of both.

    Words are those of `exact_match`; one is shared as often as both answers have it. This is the harmonic
    mean of precision, shared / words of the answer, and recall, shared / words of the truth. Two answers
    without words get 1.0. (Rajpurkar et al., "SQuAD", 2016, section 6.1.)
    """
    said, wanted = words_of(answer), words_of(truth)
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted)) if said or wanted else 1.0


def check_confidences(confidences: Array, *rest: Any) -> None:
    """Raise ValueError unless there are confidences, and all are from 0 to 1."""
    if not confidences.size or not np.all((confidences >= 0) & (confidences <= 1)):
        raise ValueError(f"needs one or more confidences from 0 to 1, got {confidences}")


@op(shapes="confidences (N), right (N)", check=check_confidences)
def brier_score(confidences: Array, right: Array) -> float:
    """Return the mean of (confidence - 1)^2 for right answers and confidence^2 for wrong ones.

    confidences (N,) from 0 to 1, right (N,) -> from 0, sure and right, to 1; always 0.5 gives 0.25. Raises
    ValueError on other confidences, or if there are none. (Brier 1950, for one of the two outcomes.)
    """
    return float(((confidences - right) ** 2).mean())


@op(shapes="confidences (N), right (N)", check=check_confidences)
def expected_calibration_error(confidences: Array, right: Array, bins: int = 15) -> float:
    """Return how far confidences are from shares of right answers, among answers of similar confidence.

    confidences (N,) from 0 to 1, right (N,) -> the sum over `bins` bins of equal width of

        n / N |share of right answers - mean confidence|

    for the n answers of a bin. A confidence on an edge belongs to the bin below it, and 0 to the first bin.
    Raises ValueError on other confidences, if there are none, or unless bins >= 1. (Guo et al., "On
    calibration of modern neural networks", 2017, equation 3; they leave out confidences of exactly 0.)
    """
    if bins < 1:
        raise ValueError(f"expected_calibration_error needs bins >= 1, got {bins}")
    which = np.maximum(np.ceil(confidences.astype(np.float64) * bins) - 1, 0).astype(np.int64)
    gaps = np.bincount(which, right - confidences)  # n times the difference of the two means
    return float(np.abs(gaps).sum() / len(confidences))


@op(shapes="scores (N), labels (N)")
def auroc(scores: Array, labels: Array) -> float:
    """Return the chance that an example with label 1 has a larger score than an example with label 0.

    scores (N,), labels (N,) -> from 0 to 1, over all pairs of one of each; equal scores count one half.
    0.5 is chance, NaN is returned unless both labels occur. It is the area under the ROC curve. (Hanley and
    McNeil 1982.)
    """
    positive, negative = scores[labels == 1], np.sort(scores[labels == 0])
    below, upto = (np.searchsorted(negative, positive, side) for side in ("left", "right"))
    pairs = positive.size * negative.size
    return float((below + upto).sum() / (2 * pairs)) if pairs else math.nan


@op(outputs=("low", "high"))
def wilson_interval(right: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return an interval for the true share of right answers, after `right` of n answers were right.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)    with p = right / n

    A standard normal number lies between -z and z with probability `level`: z is 1.96 for 0.95. Raises
    ValueError unless n >= 1, 0 <= right <= n, 0 < level < 1. (Wilson 1927.)
    """
    if n < 1 or not 0 <= right <= n or not 0 < level < 1:
        raise ValueError(f"wilson_interval needs 0 <= right <= n > 0, 0 < level < 1, got {right, n, level}")
    z, p = NormalDist().inv_cdf((1 + level) / 2), right / n
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + (z / (2 * n)) ** 2) ** 0.5
    shrink = 1 + z * z / n
    return max(0.0, min(p, (centre - half) / shrink)), min(1.0, max(p, (centre + half) / shrink))


@op(outputs=("low", "high"), shapes="scores (N), draws (B, N)")
def bootstrap_interval(scores: Array, draws: Array, level: float = 0.95) -> tuple[float, float]:
    """Return an interval for a mean of scores: where the means of most drawn scores lie.

    scores (N,), draws (B, N) ints below N, each row N places drawn with replacement -> the quantiles
    (1 - level) / 2 and (1 + level) / 2 of the B means of drawn scores, as np.quantile interpolates. Narrow
    for N < 50. Raises ValueError unless N, B >= 1, 0 < level < 1. (Efron and Tibshirani 1993, chapter 13.)
    """
    if not draws.size or not 0 < level < 1:
        raise ValueError(f"bootstrap_interval needs scores, draws, 0 < level < 1, got {draws.shape, level}")
    low, high = np.quantile(scores[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@op(outputs=("winners", "shares"), grads=(), shapes="answers (N, K)")
def majority_vote(answers: Array) -> tuple[Array, Array]:
    """Choose for each question the answer that was given most often; equal answers have equal numbers.

    answers (N, K) ints, K answers to each of N questions -> winners (N,), of the type of answers, and
    shares (N,) float32, the share of a question's answers that are its winner. Of answers given equally
    often, the one that was given first wins. (Wang et al., "Self-Consistency", 2022, section 2.)
    """
    votes = (answers[:, :, None] == answers[:, None, :]).sum(axis=2)
    winners = np.take_along_axis(answers, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return winners, (votes.max(axis=1) / answers.shape[1]).astype(np.float32)
