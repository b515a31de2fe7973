"""Provide test cases, common mistakes and correct variants for the op `relative_buckets`."""

import math

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import ANY_LAYOUT, arrange, cases, leading, seeds
from tinyllm.testing.bounds import NEIGHBOURS
from tinyllm.testing.edits import mistake, variant


@cases("relative_buckets")
def relative_buckets(draw):
    """Draw distances, and settings for which no integer distance is exactly at the edge of a bucket."""
    buckets, limit = draw(st.sampled_from(((32, 128), (8, 20), (4, 9), (16, 50), (7, 11))))
    random, spread = Random(draw(seeds), "distances"), draw(st.sampled_from((8, 40, 300)))
    distance = random.integers(2 * spread + 1, (*draw(leading), draw(st.sampled_from((5, 1, 9))))) - spread
    return arrange(distance, draw(st.sampled_from(ANY_LAYOUT))), buckets, limit, draw(st.booleans())


NEIGHBOURS |= {"relative_buckets": lambda args: [  # with a slightly smaller, and a larger max_distance
    (*args[:2], args[2] * (1 + change), args[3]) for change in (-1e-6, 1e-6)]}

mistake("relative_buckets", "no half of the buckets for each side: both share all",
        "buckets //= 1 if causal else 2", "",
        "later = (distance > 0) * (0 if causal else buckets)", "later = 0 * distance")
mistake("relative_buckets", "the second half of the buckets for keys before the query, not after it",
        "(distance > 0)", "(distance < 0)")
mistake("relative_buckets", "one distance for each bucket, and no logarithm",
        "np.where(distance < exact, distance, far)", "np.minimum(distance, buckets - 1)")
mistake("relative_buckets", "logarithms rounded to the nearest, not down", "steps.astype(np.int64)",
        "np.round(steps).astype(np.int64)")
mistake("relative_buckets", "far distances in buckets of equal width, where the logarithm belongs",
        "growth / np.float32(np.log(max_distance / exact))", "(distance - exact) / (max_distance - exact)")
mistake("relative_buckets", "distances beyond max_distance not held in the last bucket",
        "np.minimum(exact + steps.astype(np.int64), buckets - 1)", "exact + steps.astype(np.int64)")


@variant("relative_buckets")
def relative_buckets_one_by_one(distance, buckets, max_distance, causal):
    n = buckets if causal else buckets // 2
    e = n // 2

    def bucket(d):
        first = 0 if causal or d <= 0 else n
        d = max(-d, 0) if causal else abs(d)
        if d < e:
            return first + d
        return first + min(n - 1, e + int((n - e) * math.log(d / e) / math.log(max_distance / e)))

    return np.array([bucket(int(d)) for d in distance.reshape(-1)], np.int64).reshape(distance.shape)
