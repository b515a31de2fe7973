"""Check that random numbers are the published ones, the same everywhere, and resumable at any position."""

import functools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tinyllm.rng import Random

keys = st.lists(st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=4)), max_size=3)


def test_golden_values():
    """Pin bits that must never change: tokens, weights and stories depend on them.

    The first are outputs of Vigna's splitmix64.c for seed 1234567.
    """
    rng = Random()
    rng.key = 1234567
    assert rng.bits(5).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423,
                                    4593380528125082431, 16408922859458223821]
    rng = Random(0, "batch", 7)
    assert rng.bits(3).tolist() == [580919919584777042, 11099673056246102236, 16249193709589648771]
    assert rng.uniform() == 0.7569374094248569
    assert rng.integers(1000, 5).tolist() == [597, 351, 22, 469, 130]
    assert rng.normal(3).tolist() == [0.074493408203125, 0.1374664306640625, 0.7586822509765625]
    assert rng.shuffle("abcdef") == ["c", "b", "f", "a", "d", "e"]
    assert rng.counter == 23
    for draw in (rng.bits, rng.uniform, rng.normal, functools.partial(rng.integers, 9)):
        assert [draw(shape).shape for shape in (0, (), (2, 0), (2, 3))] == [(0,), (), (2, 0), (2, 3)]


@given(keys, st.integers(0, 20), st.integers(0, 2**64 + 5))
def test_one_at_a_time_equals_all_at_once(key, n, counter):
    one, all_ = Random(*key), Random(*key)
    one.counter = all_.counter = counter
    assert [one.bits() for _ in range(n)] == all_.bits(n).tolist()
    assert [one.uniform() for _ in range(n)] == all_.uniform(n).tolist()
    assert [one.integers(37) for _ in range(n)] == all_.integers(37, n).tolist()
    assert one.counter == all_.counter == counter + 3 * n


@given(keys, keys)
def test_different_keys_give_different_streams(a, b):
    same = [(type(part), part) for part in a] == [(type(part), part) for part in b]
    assert (Random(*a).bits(2).tolist() == Random(*b).bits(2).tolist()) == same


def test_the_distributions_are_what_they_say():
    """Check that mean and variance are within five standard errors of 40,000 draws."""
    n = 40_000
    uniform, normal, die = Random(1).uniform(n), Random(2).normal(n).astype(float), Random(3).integers(6, n)
    assert abs(uniform.mean() - 1 / 2) < 5 * (1 / 12 / n) ** 0.5
    assert abs(normal.mean()) < 5 / n**0.5 and abs(normal.var() - 1) < 5 * (2 / n) ** 0.5
    assert np.all(abs(np.bincount(die, minlength=6) - n / 6) < 5 * (n * 5 / 36) ** 0.5)
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(normal).max() < 6 and Random(4).integers(1) == 0
    assert abs(np.corrcoef(normal[1:], normal[:-1])[0, 1]) < 5 / n**0.5


def test_every_permutation_and_choice_occurs_and_a_bad_range_is_refused():
    rng, items = Random("all"), [1, 2, 3]
    assert len({tuple(rng.shuffle(items)) for _ in range(100)}) == 6 and items == [1, 2, 3]
    assert {rng.choice("abc") for _ in range(50)} == set("abc")
    for n in (0, -1, 2**31 + 1):
        with pytest.raises(ValueError, match="0 < n <= 2"):
            Random().integers(n)
