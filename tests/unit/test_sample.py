"""Test the sampling kernels on long rows, ties, infinities, masked rows and draws at an edge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm import ops
from tinyllm.ops.registry import _compiled
from tinyllm.rng import Random
from tinyllm.testing import check

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")

# Around the vector, the group of 256 whose maxima bound the k-th logit, and the block a draw is found in.
LENGTHS = (1, 2, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1000, 4097)
VALUES = {
    "normal": lambda rng, n: rng.normal(n) * 3,
    "ties": lambda rng, n: rng.integers(5, n) - 2.0,
    "equal": lambda rng, n: np.zeros(n),
    "rising": lambda rng, n: np.sort(rng.normal(n)),
    "masked": lambda rng, n: np.full(n, -np.inf),
    "mostly masked": lambda rng, n: np.where(rng.uniform(n) < 0.98, -np.inf, rng.normal(n)),
    "far apart": lambda rng, n: np.array([3e38, -3e38, 1e-45, -1e-45, 0.0, -0.0, 5.0])[rng.integers(7, n)],
    "falling by halves": lambda rng, n: 2.0 ** -(np.arange(n) % 300.0),
    "infinite": lambda rng, n: np.array([np.inf, -np.inf, 1.0, 2.0])[rng.integers(4, n)],
    "with NaN": lambda rng, n: np.where(rng.uniform(n) < 0.5, np.nan, rng.normal(n)),
    "all NaN": lambda rng, n: np.full(n, np.nan),
}
rows = st.builds(lambda kind, n, seed: np.asarray(VALUES[kind](Random(seed, kind), n), np.float32),
                 st.sampled_from(sorted(VALUES)), st.sampled_from(LENGTHS), st.integers(0, 1000))


NUMBERS = {"top_k": (1, 2, 7, 50, 255, 256, 257, 5000), "top_p": (1e-6, 0.1, 0.5, 0.9, 0.999, 1.0),
           "min_p": (0.0, 0.01, 0.1, 0.5)}


@pytest.mark.parametrize("name", NUMBERS)
@given(x=rows, data=st.data())
def test_what_is_kept_of_long_rows_agrees_with_the_specification(name, x, data):
    check(name, ops.OPS[name].compiled, (x, data.draw(st.sampled_from(NUMBERS[name]))))


@given(st.sampled_from(LENGTHS), st.integers(0, 1000), st.integers(0, 8))
def test_a_draw_on_the_edge_is_the_next_token(n, seed, eighth):
    """Sums of eighths are exact: no rounding excuses another token, and none of probability 0 comes out."""
    cuts = np.sort(Random(seed, "cuts").integers(9, n - 1)) / 8
    probs = np.diff(cuts, prepend=0.0, append=1.0).astype(np.float32)
    u = np.float64(min(eighth / 8, 1 - 2.0**-53))
    check("sample", ops.sample.compiled, (probs, u))
    assert probs[_compiled.sample(probs, u)] > 0


@pytest.mark.parametrize("bad", ([0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0]))
def test_probabilities_without_a_total_are_refused(bad):
    probs = np.array([[0.5, 0.5], bad], np.float32)
    with pytest.raises(ValueError, match="positive, finite"):
        _compiled.sample(probs, np.zeros(2))
