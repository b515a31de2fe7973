"""Check sampling: settings are checked, act in their order, and draw what the probabilities say."""

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm import Random, Sampling, ops
from tinyllm.ops.registry import _compiled
from tinyllm.testing import check

V = 11


@pytest.mark.parametrize("wrong", [
    {"temperature": -0.5}, {"temperature": float("nan")}, {"temperature": 1e-30}, {"top_k": 0},
    {"top_k": 1.5}, {"top_p": 0.0}, {"top_p": 1.1}, {"min_p": -0.1}, {"repetition_penalty": 0.0},
    *({"top_k": number} for number in (np.True_, np.float32(5), np.int64(0), np.array([5]), np.str_("5"))),
])
def test_a_setting_out_of_range_is_named(wrong):
    refuses(f"{next(iter(wrong))} must be", Sampling, **wrong)


def test_numbers_of_numpy_become_those_of_python():
    s = Sampling(np.float32(0.5), np.int64(5), repetition_penalty=np.float16(2))
    assert repr(s) == repr(Sampling(0.5, 5, repetition_penalty=2.0))


def test_extreme_temperatures_still_draw_and_greedy_takes_the_smallest_of_equal_ids():
    logits = np.tile(np.random.default_rng(0).normal(size=V).astype(np.float32), (20, 1))
    cold, hot = ({*Sampling(t).choose(logits, [[]] * 20, Random(0).uniform(20))} for t in (1e-6, 1e30))
    assert len(cold) == 1 and len(hot) > 4
    logits = np.zeros((2, V), np.float32)
    logits[1, [4, 7]] = 1
    assert Sampling(temperature=0).choose(logits, [[], []], np.zeros(2)).tolist() == [0, 4]


def test_sampling_settings_keep_their_order():
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]] * 200, np.float32))
    ids, u = [[]] * 200, Random(0).uniform(200)
    # Top-p follows top-k: the shares are 0.44, 0.33, ...; min-p follows temperature and sees sharper shares.
    assert set(Sampling(top_k=3, top_p=0.7).choose(logits, ids, u)) == {0, 1}
    assert set(Sampling(temperature=0.1, min_p=0.5).choose(logits, ids, u)) == {0}
    assert set(Sampling(top_p=0.75, min_p=0.3).choose(logits, ids, u)) == {0, 1, 2}


# The kernels: long rows, ties, infinities, masked rows and draws at an edge.

needs_kernels = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")

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


@needs_kernels
@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("values", VALUES)
@given(n=LENGTHS, seed=st.integers(0, 1000), data=st.data())
def test_what_is_kept_of_long_rows_agrees_with_the_specification(name, values, n, seed, data):
    x = np.asarray(values(Random(seed, "values"), n), np.float32)
    check(name, ops.OPS[name].compiled, (x, data.draw(st.sampled_from(NUMBERS[name]))))


@needs_kernels
@given(LENGTHS, st.integers(0, 1000), st.integers(0, 8))
def test_a_draw_on_the_edge_is_the_next_token(n, seed, eighth):
    """Sums of eighths are exact, so the token is certain; a token of probability 0 is never drawn."""
    cuts = np.sort(Random(seed, "cuts").integers(9, n - 1)) / 8
    probs = np.diff(cuts, prepend=0.0, append=1.0).astype(np.float32)
    u = np.float64(min(eighth / 8, 1 - 2.0**-53))
    check("sample", ops.sample.compiled, (probs, u))
    assert probs[_compiled.sample(probs, u)] > 0
