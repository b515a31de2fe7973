"""The KV cache: what goes in stands where it belongs; test_models has attention over it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.nn import KVCache, LatentCache
from tinyllm.nn.cache import Filled
from tinyllm.ops.registry import empty


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@given(st.lists(st.integers(0, 4), min_size=0, max_size=6), st.integers(1, 3), st.integers(0, 99))
def test_append_keeps_everything_in_order(pieces, batch, seed):
    cache, start = KVCache(batch, max(1, sum(pieces)), 2, 3), 0
    k, v = numbers(seed, batch, sum(pieces), 2, 3), numbers(seed + 1, batch, sum(pieces), 2, 3)
    for n in pieces:
        keys, values = cache.append(k[:, start : start + n], v[:, start : start + n])
        start += n
        assert cache.length == start and (cache.lengths == start).all()
        assert np.array_equal(keys[:, :start], k[:, :start])
        assert np.array_equal(values[:, :start], v[:, :start])


def test_places_that_no_row_has_filled_are_finite():
    """The spec of attention multiplies their values by a weight of 0, and 0 times NaN is NaN."""
    dirty = [empty((3, 6, 1, 2), np.float32) for _ in range(4)]  # memory of the pool, which is used again
    for array in dirty:
        array[:] = np.nan
    del array, dirty[:]
    cache = KVCache(3, 6, 1, 2)
    assert np.isfinite(cache.keys).all() and np.isfinite(cache.values).all()


def test_rows_have_lengths_of_their_own_and_share_memory():
    cache, k = KVCache(3, 6, 1, 2), numbers(0, 3, 6, 1, 2)
    for b, n in enumerate((2, 0, 4)):
        if n:
            cache.rows(b, b + 1).append(k[b : b + 1, :n], -k[b : b + 1, :n])
    assert cache.lengths.tolist() == [2, 0, 4] and cache.length == 4
    keys, values = cache.append(k[:, 4:5], -k[:, 4:5])
    assert cache.lengths.tolist() == [3, 1, 5]
    for b, n in enumerate((2, 0, 4)):
        expected = np.concatenate([k[b, :n], k[b, 4:5]])
        assert np.array_equal(keys[b, : n + 1], expected) and np.array_equal(values[b, : n + 1], -expected)


def test_a_full_row_and_wrong_shapes_are_refused_and_nothing_changes():
    cache = KVCache(2, 3, 1, 1)
    cache.rows(1, 2).append(np.ones((1, 2, 1, 1)), np.ones((1, 2, 1, 1)))
    before = cache.keys.copy()
    with pytest.raises(UserError, match="context is full: 2 \\+ 2 positions exceed 3"):
        cache.append(np.full((2, 2, 1, 1), 5.0), np.full((2, 2, 1, 1), 5.0))
    for k, v in [((1, 1, 1, 1),) * 2, ((2, 1, 1, 1), (2, 2, 1, 1)), ((2, 1, 2, 1),) * 2]:
        with pytest.raises(ValueError, match="got keys"):
            cache.append(np.zeros(k), np.zeros(v))
    assert np.array_equal(cache.keys, before) and cache.lengths.tolist() == [0, 2]


def test_truncate_forgets_and_keep_copies():
    cache, k = KVCache(3, 4, 1, 1), numbers(1, 3, 4, 1, 1)
    cache.append(k[:, :3], k[:, :3])
    cache.rows(1, 2).truncate(1)
    assert cache.lengths.tolist() == [3, 1, 3]
    cache.truncate(2)
    assert cache.lengths.tolist() == [2, 1, 2]
    kept = cache.keep([2, 0])
    kept.append(k[:2, 3:], k[:2, 3:])
    assert kept.lengths.tolist() == [3, 3] and cache.lengths.tolist() == [2, 1, 2]
    assert np.array_equal(kept.keys[:, :2], k[[2, 0], :2])
    assert np.array_equal(cache.keys[:, :3], k[:, :3])


def test_copy_moves_rows_as_far_as_they_are_filled():
    a, b, k = KVCache(3, 4, 1, 1), KVCache(2, 6, 1, 1), numbers(1, 3, 4, 1, 1)
    a.append(k[:, :3], -k[:, :3])
    a.rows(1, 2).truncate(1)
    b.keys[:] = 7
    b.copy(a, [2, 1], [0, 1])
    assert b.lengths.tolist() == [3, 1] and np.array_equal(b.keys[0, :3], k[2, :3])
    assert np.array_equal(b.values[1, :1], -k[1, :1]) and (b.keys[:, 3:] == 7).all()
    a.copy(a, [2], [0])
    assert np.array_equal(a.keys[0, :3], k[2, :3]) and a.rows(0, 1).lengths.tolist() == [3]


def test_a_pass_can_end_where_the_last_cache_is_filled():
    cache, k = KVCache(1, 4, 1, 1), numbers(2, 1, 3, 1, 1)
    cache.ends = True
    with pytest.raises(Filled):
        cache.append(k, -k)
    assert cache.length == 3 and np.array_equal(cache.keys[:, :3], k) and not cache.rows(0, 1).ends


def test_a_cleared_row_holds_nothing():
    cache, k = KVCache(2, 4, 1, 1), numbers(2, 2, 3, 1, 1)
    cache.append(k * np.nan, k)
    cache.clear(0)
    assert cache.lengths.tolist() == [0, 3] and not cache.keys[0].any() and not cache.values[0].any()


def test_a_latent_cache_is_a_cache_of_half_the_size():
    plain, latent = KVCache(3, 4, 1, 2), LatentCache(3, 4, 1, 2)
    assert latent.nbytes == plain.nbytes / 2
    k = numbers(3, 3, 4, 1, 2)
    for cache in (plain, latent):
        cache.append(k[:, :2], k[:, :2])
        cache.rows(1, 2).truncate(1)
        cache.append(k[:, 2:3], k[:, 2:3])
        cache.copy(cache, [2], [0])
        cache.clear(1)
    views = [latent, latent.rows(0, 2), latent.keep([2, 0])]
    for a, b in zip([plain, plain.rows(0, 2), plain.keep([2, 0])], views, strict=True):
        assert np.array_equal(a.keys, b.keys) and np.array_equal(a.values, b.values)
        assert a.lengths.tolist() == b.lengths.tolist() and np.shares_memory(b.keys, b.values)
