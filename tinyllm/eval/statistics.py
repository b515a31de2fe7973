"""Say how sure a measured number is: intervals of a score, and of the difference between two models."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyllm.ops import bootstrap_interval
from tinyllm.rng import Random

DRAWS = 1000  # of the bootstrap, and of the paired test


def resampled(statistic: Callable[[np.ndarray], float], n: int, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic of n items (Efron, 1979).

    statistic(places): computes it from items given by places (n,), of which some are repeated; draws for
    which it is NaN do not count.
    """
    drawn = Random(seed, "bootstrap").integers(n, (DRAWS, n))
    found = [x for x in map(statistic, drawn) if not math.isnan(x)] or [math.nan]
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def by_accident(error: Callable[[np.ndarray, np.ndarray], float], sure: np.ndarray, seed: int = 0) -> float:
    """Return what an error of calibration exceeds in 2.5 % of evaluations although all confidences are right.

    error(sure, right): computes it from confidences (n,) and drawn outcomes (n,). A bootstrap of the error is
    above 0 even for such models. (Bröcker and Smith, "Increasing the reliability of reliability diagrams",
    2007.)
    """
    drawn = Random(seed, "calibrated").uniform((DRAWS, len(sure))) < sure
    return float(np.quantile([error(sure, right.astype(np.float64)) for right in drawn], 0.975))


def paired(first: Sequence[float], second: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Compare the scores of two models on the same items -> {"difference", "low", "high", "p"}.

    The difference is the second mean minus the first, with its bootstrap interval. p is the probability of a
    difference at least as large if both models were alike, by turning the signs of random items round.
    (Fisher's randomization test; Dror et al., "The hitchhiker's guide to testing statistical significance in
    NLP", 2018.)
    """
    each = np.subtract(second, first)
    low, high = bootstrap_interval(each, Random(seed, "bootstrap").integers(len(each), (DRAWS, len(each))))
    signs = 2 * Random(seed, "signs").integers(2, (DRAWS, len(each))) - 1
    as_large = np.abs((signs * each).mean(axis=1)) >= abs(each.mean()) - 1e-12
    return {"difference": float(each.mean()), "low": low, "high": high,
            "p": float((1 + as_large.sum()) / (1 + DRAWS))}
