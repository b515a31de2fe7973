"""Check sampling: settings are checked, act in their order, and draw what the probabilities say."""

import numpy as np
import pytest
from helpers import refuses

from tinyllm.decode.sampling import Sampling
from tinyllm.rng import Random

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


@pytest.mark.parametrize("temperature", [1e-6, 1e30])
def test_extreme_temperatures_still_draw(temperature):
    logits = np.tile(np.random.default_rng(0).normal(size=V).astype(np.float32), (20, 1))
    ids = Sampling(temperature).choose(logits, [[]] * 20, Random(0).uniform(20))
    assert len(set(ids)) == 1 if temperature < 1 else len(set(ids)) > 4


def test_sampling_settings_keep_their_order():
    logits = np.log(np.array([[0.4, 0.3, 0.2, 0.1]] * 200, np.float32))
    ids, u = [[]] * 200, Random(0).uniform(200)
    # Top-p follows top-k: the shares are 0.44, 0.33, ...; min-p follows temperature and sees sharper shares.
    assert set(Sampling(top_k=3, top_p=0.7).choose(logits, ids, u)) == {0, 1}
    assert set(Sampling(temperature=0.1, min_p=0.5).choose(logits, ids, u)) == {0}
    assert set(Sampling(top_p=0.75, min_p=0.3).choose(logits, ids, u)) == {0, 1, 2}


def test_greedy_takes_the_smallest_of_equal_ids():
    logits = np.zeros((2, V), np.float32)
    logits[1, [4, 7]] = 1
    assert Sampling(temperature=0).choose(logits, [[], []], np.zeros(2)).tolist() == [0, 4]
