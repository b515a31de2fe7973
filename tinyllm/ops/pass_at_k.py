"""Estimate pass@k: the chance that at least one of k programs from a model passes a problem's tests.

Chen et al., "Evaluating Large Language Models Trained on Code", 2021, section 2.1.
"""

import math
from collections.abc import Sequence

from tinyllm.ops.registry import op


@op
def pass_at_k(passed: Sequence[int], n: int, k: int) -> float:
    """Estimate, without bias, the chance that at least one of k samples for a problem passes its tests.

    passed: for each problem, how many of its n samples passed -> the mean over the problems of

        1 - C(n - passed, k) / C(n, k)

    where C(a, b) is the number of ways to choose b of a things, 0 if b > a. Of all ways to choose k of the n
    samples, this is the share in which at least one passed. Raises ValueError unless 1 <= k <= n, and there
    are problems with 0 <= passed <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass_at_k needs 1 <= k <= n, got k = {k}, n = {n}")
    if not passed or not 0 <= min(passed) <= max(passed) <= n:
        raise ValueError(f"pass_at_k needs problems of which 0 to {n} samples passed, got {passed}")
    shares = [1 - math.comb(n - c, k) / math.comb(n, k) for c in passed]
    return sum(shares) / len(shares)
