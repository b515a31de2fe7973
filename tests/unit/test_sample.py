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

# Lengths around a vector, a group of 256 (its maximum bounds the k-th logit), and a block of `sample`.
LENGTHS = st.sampled_from((1, 2, 15, 16, 17, 255, 256, 257, 511, 512, 513, 1000, 4097))
VALUES = [
    lambda rng, n: rng.normal(n) * 3,
    lambda rng, n: rng.integers(5, n) - 2.0,  # ties
    lambda rng, n: np.zeros(n),
    lambda rng, n: np.sort(rng.normal(n)),
    lambda rng, n: np.full(n, -np.inf),
    lambda rng, n: np.where(rng.uniform(n) < 0.98, -np.inf, rng.normal(n)),
    lambda rng, n: np.array([3e38, -3e38, 1e-45, -1e-45, 0.0, -0.0, 5.0])[rng.integers(7, n)],
    lambda rng, n: 2.0 ** -(np.arange(n) % 300.0),
    lambda rng, n: np.array([np.inf, -np.inf, 1.0, 2.0])[rng.integers(4, n)],
    lambda rng, n: np.where(rng.uniform(n) < 0.5, np.nan, rng.normal(n)),
    lambda rng, n: np.full(n, np.nan),
]
NUMBERS = {"top_k": (1, 2, 7, 50, 255, 256, 257, 5000), "top_p": (1e-6, 0.1, 0.5, 0.9, 0.999, 1.0),
           "min_p": (0.0, 0.01, 0.1, 0.5)}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("values", VALUES)
@given(n=LENGTHS, seed=st.integers(0, 1000), data=st.data())
def test_what_is_kept_of_long_rows_agrees_with_the_specification(name, values, n, seed, data):
    x = np.asarray(values(Random(seed, "values"), n), np.float32)
    check(name, ops.OPS[name].compiled, (x, data.draw(st.sampled_from(NUMBERS[name]))))


@given(LENGTHS, st.integers(0, 1000), st.integers(0, 8))
def test_a_draw_on_the_edge_is_the_next_token(n, seed, eighth):
    """Sums of eighths are exact, so the token is certain; a token of probability 0 is never drawn."""
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
