"""Provide test cases, common mistakes and correct variants for pass@k."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.arrays import cases
from tinyllm.testing.bounds import BOUNDS
from tinyllm.testing.edits import mistake, variant


@cases("pass_at_k")
def pass_at_k(draw):
    """Draw for a few problems how many of n samples passed, and k from 1 to n."""
    n = draw(st.sampled_from((5, 10, 1, 2, 20, 200)))
    k = draw(st.sampled_from([k for k in (2, 1, 3, n // 2, n) if 1 <= k <= n]))
    some = st.one_of(st.sampled_from((0, 1, n)), st.integers(0, n))
    return draw(st.lists(some, min_size=1, max_size=6)), n, k


BOUNDS["pass_at_k"] = lambda args, results: (1e-9,)

SHARE = "1 - math.comb(n - c, k) / math.comb(n, k)"

mistake("pass_at_k", "1 - (1 - passed/n)^k, which puts every drawn sample back and is too small", SHARE,
        "1 - (1 - c / n) ** k")
mistake("pass_at_k", "k times the share that passes, at most 1: chances of different samples do not add",
        SHARE, "min(1.0, k * c / n)")
mistake("pass_at_k", "the chance that all k samples pass, not at least one", SHARE,
        "math.comb(c, k) / math.comb(n, k)")
mistake("pass_at_k", "1 for a problem that any of the n samples solves: that is pass@n", SHARE,
        "float(c > 0)")
mistake("pass_at_k", "the first k samples taken to be those that passed", SHARE, "float(c >= k)")


@mistake("pass_at_k", "one estimate for all samples together, as if they were of one problem")
def all_samples_together(passed, n, k):
    failed, total = n * len(passed) - sum(passed), n * len(passed)
    return float(1 - np.prod([max(failed - i, 0) / (total - i) for i in range(k)]))


@variant("pass_at_k")
def by_factors(passed, n, k):
    """Return 1 minus the product of the chances that each of k samples fails, averaged over problems."""
    return float(np.mean([1 - np.prod([max(n - c - i, 0) / (n - i) for i in range(k)]) for c in passed]))
