"""The KV cache: what goes in stands where it belongs; test_models has attention over it."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.decode.generate import generate
from tinyllm.errors import UserError
from tinyllm.models import build, family
from tinyllm.nn import KVCache, pack_cache
from tinyllm.nn.cache import Filled
from tinyllm.ops.runtime import empty
from tinyllm.tensor import Tensor, no_grad

SIZES = {"vocab_size": 19, "context": 16, "layers": 2, "heads": 4, "width": 32, "hidden": 24, "init_std": 0.2}
SMALL = {
    "llama": {"model_type": "llama", **SIZES, "kv_heads": 2},
    "mistral": {"model_type": "mistral", **SIZES, "kv_heads": 1, "window": 5},
    "deepseek_v3": {"model_type": "deepseek_v3", **SIZES, "kv_heads": 4, "head_width": 4, "plain_width": 8,
                    "value_width": 8, "latent": 12},
}


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
    cache.rows(1, 2).rewind(1)
    assert cache.lengths.tolist() == [3, 1, 3]
    cache.rewind(2)
    assert cache.lengths.tolist() == [2, 1, 2]
    kept = cache.keep([2, 0])
    kept.append(k[:2, 3:], k[:2, 3:])
    assert kept.lengths.tolist() == [3, 3] and cache.lengths.tolist() == [2, 1, 2]
    assert np.array_equal(kept.keys[:, :2], k[[2, 0], :2])
    assert np.array_equal(cache.keys[:, :3], k[:, :3])


def test_copy_moves_rows_as_far_as_they_are_filled():
    a, b, k = KVCache(3, 4, 1, 1), KVCache(2, 6, 1, 1), numbers(1, 3, 4, 1, 1)
    a.append(k[:, :3], -k[:, :3])
    a.rows(1, 2).rewind(1)
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


def test_a_latent_cache_holds_keys_and_values_once():
    cache = KVCache(3, 4, 1, 2, parts=1)
    for view in (cache, cache.rows(0, 2), cache.keep([2, 0])):
        assert np.shares_memory(view.keys, view.values)


LATENT = partial(KVCache, parts=1)
PACKED = [(made, partial(made, kind=kind)) for made in (KVCache, LATENT) for kind in ("bf16", "int8")]


@pytest.mark.parametrize("kind, packed", [(KVCache, LATENT), *PACKED])
def test_a_smaller_cache_keeps_the_contract(kind, packed):
    """On numbers that 8 bits hold, every method does what the plain cache does, bit for bit."""
    k = np.random.default_rng(4).integers(-8, 9, (3, 4, 2, 4)).astype(np.float32)
    k[..., 0] = 127  # the largest of each head, so that the scale is 1
    found = []
    for cache in (kind(3, 4, 2, 4), packed(3, 4, 2, 4)):
        cache.append(k[:, :2], k[:, :2])
        cache.rows(1, 2).rewind(1)
        cache.append(k[:, 2:3], k[:, 2:3])
        cache.copy(cache, [2], [0])
        cache.clear(1)
        kept = cache.keep([2, 0, 1])
        read = kept.append(k[:, 3:], k[:, 3:])
        found.append([kept.lengths.tolist(), *(x[b, :n] for x in read for b, n in enumerate(kept.lengths))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert packed(3, 4, 2, 4).nbytes <= kind(3, 4, 2, 4).nbytes / 2


@given(seed=st.integers(0, 99), size=st.sampled_from([1e-3, 1.0, 1e4]))
def test_packed_caches_return_numbers_within_their_error(seed, size):
    k, v = (numbers(seed + i, 2, 3, 2, 8) * np.float32(size) for i in range(2))
    for kind, error in (("bf16", 2.0**-8), ("int8", 0.5 / 127)):
        for x, y in zip((k, v), KVCache(2, 3, 2, 8, kind=kind).append(k, v), strict=True):
            largest = np.abs(x).max(-1, keepdims=True) if kind == "int8" else np.abs(x)
            assert (np.abs(x - y) <= largest * np.float32(error * 1.0001)).all()


@pytest.mark.parametrize("kind", ["bf16", "int8"])
@pytest.mark.parametrize("name", ["llama", "mistral", "deepseek_v3"])
def test_a_packed_cache_decodes_closely_and_alike_in_any_batch_and_chunks(name, kind):
    model = pack_cache(build(SMALL[name]).eval(), kind)
    tokens = np.random.default_rng(0).integers(0, 19, (3, 11))
    with no_grad():
        exact = model(tokens).data
        whole = model.hidden(tokens, model.new_cache(3)).data
        for rows, chunk in ((slice(0, 3), 1), (slice(1, 2), 4), (slice(2, 3), 1)):
            cache = model.new_cache(rows.stop - rows.start)
            parts = [model.hidden(tokens[rows, i : i + chunk], cache).data for i in range(0, 11, chunk)]
            assert np.concatenate(parts, 1).tobytes() == whole[rows].tobytes()
        found = model.head(Tensor(whole)).data
    assert 0 < np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
    prompts = [row[:n].tolist() for row, n in zip(tokens, (4, 7, 2), strict=True)]
    together = generate(model, prompts, max_tokens=4, seed=[0, 0, 0])
    assert together == [generate(model, [prompt], max_tokens=4, seed=[0])[0] for prompt in prompts]


def test_other_caches_are_refused():
    with pytest.raises(UserError, match="float32, bf16, int8, not int4"):
        pack_cache(build(SMALL["llama"]), "int4")
    for name in ("t5", "bert"):
        with pytest.raises(UserError, match="only decoders"):
            pack_cache(build({"model_type": name, "vocab_size": 32} | family(name).PRESETS["nano"]), "int8")


@pytest.mark.parametrize("kind", ["bf16", "int8"])
def test_a_cache_of_other_numbers_is_refused(kind):
    model = build({"model_type": "gpt", "vocab_size": 9, "context": 12, "layers": 1, "heads": 2, "width": 8})
    cache = model.new_cache(1, 8)
    with pytest.raises(UserError, match="stores other numbers than the model's"):
        generate(pack_cache(model, kind), [[1, 2, 3]], max_tokens=2, cache=cache)
