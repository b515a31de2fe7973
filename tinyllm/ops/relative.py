"""Compute T5's relative positions: add a learnt number to each score, by the distance of key and query."""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op
def relative_buckets(distance: Array, buckets: int, max_distance: int, causal: bool) -> Array:
    """Map distances to buckets: each short distance has its own bucket, longer distances share buckets.

    distance (...), the key's position minus the query's -> (...) int64 below `buckets`. With causal, keys
    before the query use all buckets, and later keys fall into bucket 0. Otherwise the first half of the
    buckets is for keys up to the query, the second half for keys after it. Of n buckets, distances below e =
    n // 2 have one each; larger ones share the other buckets, on a logarithmic scale. Distance d goes to

        e + (n - e) ln(d / e) / ln(max_distance / e),

    rounded down, but not beyond n - 1. max_distance > e. (Raffel et al., "T5", 2020, section 2.1.)
    """
    buckets //= 1 if causal else 2
    later = (distance > 0) * (0 if causal else buckets)
    distance = np.maximum(-distance, 0) if causal else np.abs(distance)
    exact = buckets // 2
    growth = np.log(np.maximum(distance, exact).astype(np.float32) / np.float32(exact))
    steps = growth / np.float32(np.log(max_distance / exact)) * np.float32(buckets - exact)
    far = np.minimum(exact + steps.astype(np.int64), buckets - 1)
    return later + np.where(distance < exact, distance, far)
