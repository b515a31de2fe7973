"""Check that the KV cache stores keys and values in place; test_family_laws.py tries attention over it."""

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_models import V, lively

from tinyllm import Tensor, generate, no_grad, ops
from tinyllm.nn import KVCache, pack_cache
from tinyllm.nn.cache import Filled
from tinyllm.ops.quant import bfloat16, from_bfloat16
from tinyllm.ops.registry import _compiled
from tinyllm.ops.runtime import empty


def test_places_that_no_row_has_filled_are_finite():
    """The specification of attention multiplies unused values by a weight of 0, and 0 times NaN is NaN."""
    dirty = [empty((3, 6, 1, 2), np.float32) for _ in range(4)]  # the cache reuses their memory
    for array in dirty:
        array[:] = np.nan
    del array, dirty[:]
    cache = KVCache(3, 6, 1, 2)
    assert np.isfinite(cache.keys).all() and np.isfinite(cache.values).all()


def test_a_full_row_wrong_shapes_and_other_kinds_are_refused_and_nothing_changes():
    for name, kind, message in (("llama", "int4", "float32, bf16, int8, not int4"), ("t5", "int8", "only")):
        refuses(message, pack_cache, lively(name), kind)
    cache = KVCache(2, 3, 1, 1)
    cache.keep(slice(1, 2)).append(np.ones((1, 2, 1, 1)), np.ones((1, 2, 1, 1)))
    before = cache.keys.copy()
    refuses(r"context is full: 2 \+ 2 positions exceed 3", cache.append, *[np.full((2, 2, 1, 1), 5.0)] * 2)
    for k, v in [((1, 1, 1, 1),) * 2, ((2, 1, 1, 1), (2, 2, 1, 1)), ((2, 1, 2, 1),) * 2]:
        refuses("got keys", cache.append, np.zeros(k), np.zeros(v), error=ValueError)
    assert np.array_equal(cache.keys, before) and cache.lengths.tolist() == [0, 2]
    cache.ends = True  # the pass stops after filling this cache
    with pytest.raises(Filled):
        cache.append(*[np.full((2, 1, 1, 1), 7.0)] * 2)
    assert cache.lengths.tolist() == [1, 3] and cache.keys[0, 0] == cache.keys[1, 2] == 7
    assert not cache.keep(slice(0, 1)).ends


def whole_numbers(rng, n):
    """Draw keys (3, n, 2, 4) that 8 bits hold exactly: the maximum of each head is 127, so its scale is 1."""
    x = rng.integers(-8, 9, (3, n, 2, 4)).astype(np.float32)
    x[..., 0] = 127
    return x


STEPS = "append", "rewind", "rewind a row", "copy", "clear", "keep"


@pytest.mark.parametrize("kind", ["float32", "bf16", "int8"])
@pytest.mark.parametrize("parts", [2, 1])
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 99)), max_size=9))
def test_a_cache_does_what_lists_of_rows_would_do(kind, parts, steps):
    """Compare a cache with lists of keys; in `source`, each row holds the number of the row it stems from."""
    cache, rows, sources = KVCache(3, 2, 2, 4, kind=kind, parts=parts), [[], [], []], [[1], [2], [3]]
    cache.source = KVCache(3, 1, 2, 4)
    whole = np.broadcast_to(np.float32(sources)[..., None, None], (3, 1, 2, 4))
    cache.source.append(whole, whole)
    for step, seed in steps:
        rng = np.random.default_rng(seed)
        n, a, b = (int(x) for x in rng.integers(0, 3, 3))
        if step == "append":
            x = whole_numbers(rng, n)
            cache.reserve(0, max(map(len, rows)) + n)
            cache.append(x, -x if parts == 2 else x)
            rows = [[*row, *new] for row, new in zip(rows, x, strict=True)]
        elif step == "rewind":
            cache.rewind(n)
            rows = [row[:n] for row in rows]
        elif step == "rewind a row":
            cache.keep(slice(a, a + 1)).rewind(n)
            rows[a] = rows[a][:n]
        elif step == "copy":
            cache.copy(cache, [a], [b])
            rows[b], sources[b] = rows[a], sources[a]
        elif step == "clear":
            cache.clear(a)
            rows[a], sources[a] = [], []
            assert not any(array[a].any() for array in cache.arrays)
        else:
            order = rng.integers(0, 3, 3)
            cache = cache.keep(order)
            rows, sources = [rows[i] for i in order], [sources[i] for i in order]
        keys, values = cache.read()
        assert cache.lengths.tolist() == [len(row) for row in rows] and cache.length == max(map(len, rows))
        for row, k, v in zip(rows, keys, values, strict=True):
            assert np.array_equal(np.array(row).reshape(-1, 2, 4), k[: len(row)])
            assert np.array_equal(k[: len(row)], -v[: len(row)] if parts == 2 else v[: len(row)])
        of_source = zip(cache.source.keys, cache.source.lengths, strict=True)
        assert [x[:n, 0, 0].tolist() for x, n in of_source] == sources


@given(seed=st.integers(0, 99), size=st.sampled_from([1e-3, 1.0, 1e4]))
def test_packed_caches_need_less_memory_and_return_numbers_within_their_error(seed, size):
    k, v = np.random.default_rng(seed).normal(size=(2, 2, 3, 2, 16)).astype(np.float32) * np.float32(size)
    whole = KVCache(2, 3, 2, 16).nbytes
    assert KVCache(2, 3, 2, 16, parts=1).nbytes == whole / 2
    for kind, error, share in (("bf16", 2.0**-8, 1 / 2), ("int8", 0.5 / 127, 20 / 64)):
        cache = KVCache(2, 3, 2, 16, kind=kind)
        assert cache.nbytes == whole * share
        for x, y in zip((k, v), cache.append(k, v), strict=True):
            largest = np.abs(x).max(-1, keepdims=True) if kind == "int8" else np.abs(x)
            assert (np.abs(x - y) <= largest * np.float32(error * 1.0001)).all()


@pytest.mark.parametrize("kind", ["bf16", "int8"])
@pytest.mark.parametrize("name", ["llama", "mistral", "deepseek_v3"])
def test_a_packed_cache_decodes_closely_and_alike_in_any_batch_and_chunks(name, kind):
    model = lively(name)
    unpacked = model.new_cache(1)
    pack_cache(model, kind)
    tokens = np.random.default_rng(0).integers(0, V, (3, 11))
    with no_grad():
        exact = model(tokens).data
        whole = model.hidden(tokens, model.new_cache(3)).data
        for rows, chunk in ((slice(0, 3), 1), (slice(1, 2), 4), (slice(2, 3), 1)):
            cache = model.new_cache(rows.stop - rows.start)
            parts = [model.hidden(tokens[rows, i : i + chunk], cache).data for i in range(0, 11, chunk)]
            assert np.concatenate(parts, 1).tobytes() == whole[rows].tobytes()
        found = model.head(Tensor(whole)).data
    assert 0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()
    refuses("numbers as it stores them", generate, model, [[1, 2, 3]], max_tokens=2, cache=unpacked)


@given(seed=st.integers(0, 999), group=st.sampled_from([1, 2, 5]), width=st.sampled_from([4, 16, 20, 64]),
       queries=st.sampled_from([1, 2, 33]), room=st.integers(33, 200))
def test_attention_over_bfloat16_has_the_bits_of_attention_over_the_same_floats(
        seed, group, width, queries, room):
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(3, queries, 2 * group, width)).astype(np.float32)
    k, v = (bfloat16(rng.normal(size=(3, room, 2, width)).astype(np.float32)) for _ in range(2))
    k[:, -1], v[:, -1] = bfloat16(np.float32([-0.0])), bfloat16(np.float32([1e-39]))
    lengths = rng.integers(0, room + 1, 3)
    starts = rng.integers(0, room, (3, queries))
    ends = np.minimum(starts + rng.integers(0, room, (3, queries)), room)
    for level in reversed(_compiled.levels() if _compiled else [None]):  # the best level stays in use
        if level:
            _compiled.use_level(level)
        for op, limits in ((ops.attention, (True, lengths)), (ops.attention, (False,)),
                           (ops.attention_ranges, (starts, ends))):
            for run in (op, op.specification):
                found, right = run(q, k, v, *limits), run(q, *map(from_bfloat16, (k, v)), *limits)
                assert [x.tobytes() for x in found] == [x.tobytes() for x in right]
