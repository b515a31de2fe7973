"""Every family: built from settings, and what its base class promises."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gpt import check_slopes, shaken, softmax

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.models import GPT, GPTConfig, Llama
from tinyllm.models.registry import build, family, make_config, names
from tinyllm.ops.registry import _compiled
from tinyllm.report.summary import summarise
from tinyllm.tensor import no_grad

BACKENDS = ["numpy"] + ["compiled"] * (_compiled is not None)  # else no bits are promised

SMALL = {"vocab_size": 11, "context": 8, "layers": 2, "heads": 6, "width": 24}
EXTRA = {name: {"kv_heads": 2, "hidden": 20} for name in names() if name != "gpt2"}
EXTRA["mistral"]["window"] = 3
EXTRA["smollm3"]["no_rope_every"] = 2
EXTRA["mixtral"] |= {"experts": 4, "window": 3, "balance": 0.0}
EXTRA["qwen3_moe"] |= {"experts": 4, "top": 3, "balance": 0.0}
EXTRA["deepseek_v3"] |= {"kv_heads": 6, "head_width": 4, "plain_width": 3, "value_width": 5, "latent": 7,
                         "query_latent": 9}
EXTRA |= {name: {"hidden": 20} for name in ("falcon", "fuyu", "bert")}
EXTRA["t5"] = EXTRA["mt5"] = {"hidden": 20, "head_width": 4}
DECODERS = [name for name in names() if issubclass(family(name), nn.DecoderLM)]
ONE_TEXT = [name for name in names() if not family(name).is_encoder_decoder]  # the others: test_t5.py
each_family = pytest.mark.parametrize("name", ONE_TEXT)
each_decoder = pytest.mark.parametrize("name", DECODERS)


def small(name, seed=0, **changes):
    return build({"model_type": name} | SMALL | EXTRA.get(name, {}) | changes, seed)


@each_family
def test_a_family_is_built_from_settings_or_a_config(name):
    model = small(name)
    assert type(model) is family(name) and type(model).model_type == name
    same = build(model.config)
    assert all(np.array_equal(a, same.state_dict()[n]) for n, a in model.state_dict().items())
    assert not any(p.data.any() for p in small(name, seed=None).parameters() if p.ndim >= 2)
    tokens = np.random.default_rng(0).integers(0, 11, (4, 9))
    assert abs(model.loss(tokens[:, :-1], tokens[:, 1:]).item() - np.log(11)) < 0.1  # it knows nothing yet


@pytest.mark.parametrize("name", names())
def test_every_family_has_the_presets_and_help_for_every_setting(name):
    cls = family(name)
    assert {"nano", "mini", "small"} <= cls.PRESETS.keys()
    for preset in ("nano", "mini"):
        assert make_config({"model_type": name, "vocab_size": 65} | cls.PRESETS[preset]).vocab_size == 65
    assert all(field.metadata["help"] for field in dataclasses.fields(cls.config_class))


def lively(name, seed=0, dtype=np.float32, std=0.4, **changes):
    """A small model whose weights are large enough for every part of it to matter."""
    return shaken(small(name, None, **changes), std, seed, dtype)


def assert_same_rows(x, y):
    """Compare bits with the compiled kernels; with NumPy, an expert's products depend on its other rows."""
    tolerance = {"rtol": 0, "atol": 0} if _compiled else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(x, y, **tolerance)


@each_decoder
@given(t=st.integers(1, 7), other=st.integers(0, 10), seed=st.integers(0, 9))
def test_no_position_sees_a_later_token(name, t, other, seed):
    model, tokens = lively(name, seed), np.random.default_rng(seed).integers(0, 11, (1, 8))
    changed = tokens.copy()
    changed[0, t:] = other
    before, after = model(tokens).data[0], model(changed).data[0]
    assert_same_rows(before[:t], after[:t])
    assert tokens[0, t] == other or not np.allclose(before[t], after[t])


@each_decoder
@pytest.mark.parametrize("backend", BACKENDS)
@given(pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda n: sum(n) <= 8),
       batch=st.integers(1, 3), seed=st.integers(0, 9))
def test_logits_in_pieces_and_in_any_batch_equal_logits_at_once(name, backend, pieces, batch, seed):
    model, tokens = lively(name, seed), np.random.default_rng(seed).integers(0, 11, (batch, sum(pieces)))
    cache, parts, start = model.new_cache(batch), [], 0
    with ops.use(backend), no_grad():
        whole = model(tokens).data
        alone = np.concatenate([model(row).data for row in tokens])
        for n in pieces:
            parts.append(model(tokens[:, start : start + n], cache).data)
            start += n
    pieced = np.concatenate(parts, axis=1)
    if backend == "compiled":
        assert np.array_equal(pieced, whole) and np.array_equal(alone, whole)
    np.testing.assert_allclose(pieced, whole, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(alone, whole, rtol=1e-4, atol=1e-4)


@each_family
def test_the_gradient_is_the_slope_of_the_loss(name):
    model, rng = lively(name, 1, np.float64), np.random.default_rng(0)
    tokens, targets = rng.integers(0, 11, (2, 3, 8))
    targets[0, :3] = -100
    with ops.use("numpy"):
        check_slopes(lambda: model.loss(tokens, targets), model.named_parameters())


@each_family
@pytest.mark.parametrize("tokens, error, message", [
    ([], UserError, "at least one token"),
    ([[[1]]], UserError, "shape"),
    ([1, 11], UserError, "token 11 is outside of the model's vocabulary of 11"),
    ([1, -1], UserError, "token -1 is outside"),
    ([0] * 9, UserError, "9 tokens exceed the model's context of 8"),
    ([1.0, 2.0], TypeError, "whole numbers"),
])
def test_tokens_that_cannot_be_read_are_named(name, tokens, error, message):
    with pytest.raises(error, match=message):
        small(name)(tokens)


@each_decoder
def test_a_cache_has_room_for_what_was_asked_and_refuses_more(name):
    model = small(name)
    usual = (EXTRA.get(name, {}).get("kv_heads", 6), 4)
    heads = {"falcon": (1, 4), "deepseek_v3": (1, 7 + 4)}.get(name, usual)  # one latent vector, and its end
    assert [layer.keys.shape for layer in model.new_cache(3, length=5)] == [(3, 5, *heads)] * 2
    cache = model.new_cache()
    model([1, 2, 3, 4, 5, 6], cache)
    with pytest.raises(UserError, match="9 tokens exceed the model's context of 8"):
        model([1, 2, 3], cache)
    assert [layer.length for layer in cache] == [6, 6]
    model([1, 2], cache)


@each_family
def test_losses_of_tokens_are_log_probabilities_and_their_weighted_mean_the_loss(name):
    model, rng = small(name, init_std=0.3), np.random.default_rng(0)
    tokens, targets, weights = rng.integers(0, 11, (3, 8)), rng.integers(0, 11, (3, 8)), rng.random((3, 8))
    targets[0, :4] = -100
    counted = targets >= 0
    p = softmax(model(tokens).data.astype(np.float64))
    expected = np.where(counted, -np.log(np.take_along_axis(p, targets.clip(0)[..., None], -1)[..., 0]), 0)
    np.testing.assert_allclose(model.token_losses(tokens, targets).data, expected, rtol=1e-4, atol=1e-5)
    assert np.isclose(model.loss(tokens, targets).item(), expected.sum() / counted.sum(), rtol=1e-4)
    mean = (expected * weights).sum() / weights[counted].sum()
    assert np.isclose(model.loss(tokens, targets, weights).item(), mean, rtol=1e-4)
    assert model.loss(tokens, targets, weights * 0).item() == 0
    with pytest.raises(ValueError, match="must have the shape"):
        model.loss(tokens, targets[:, :3])
    for wrong, message in ((weights - 0.5, "at least 0"), (weights[:, :3], "must have the shape")):
        with pytest.raises(ValueError, match=message):
            model.loss(tokens, targets, wrong)
    with no_grad():
        near = tl.quantize(model, 8).token_losses(tokens, targets).data
    np.testing.assert_allclose(near, expected, atol=0.3)


@each_family
def test_weighted_losses_have_weighted_gradients(name):
    tokens = np.random.default_rng(0).integers(0, 11, (4, 8))
    weights = np.zeros((4, 8))
    weights[1:3] = 2.0
    weighted, part = small(name), small(name)
    weighted.loss(tokens, tokens, weights).backward()
    part.loss(tokens[1:3], tokens[1:3]).backward()
    for p, q in zip(weighted.parameters(), part.parameters(), strict=True):
        found, expected = (0 if x.grad is None else x.grad for x in (p, q))  # a layer for pictures has none
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@each_decoder
def test_packed_documents_and_prefixes_see_what_they_should(name):
    model, rng = small(name, init_std=0.3), np.random.default_rng(0)
    tokens = rng.integers(0, 11, (1, 8))
    with no_grad():
        plain = model(tokens).data
        starts = np.array([[0, 0, 0, 3, 3, 3, 3, 3]])
        packed, changed = model(tokens, seen=nn.Seen(starts=starts)).data, tokens.copy()
        changed[0, :3] = (changed[0, :3] + 1) % 11
        assert_same_rows(packed[0, :3], plain[0, :3])
        assert_same_rows(model(changed, seen=nn.Seen(starts=starts)).data[0, 3:], packed[0, 3:])
        ends = np.array([[4, 4, 4, 4, 5, 6, 7, 8]])
        changed[:] = tokens
        changed[0, 3] = (changed[0, 3] + 1) % 11
        seen = nn.Seen(ends=ends)
        whole, other = model(tokens, seen=seen).data, model(changed, seen=seen).data
        assert not np.allclose(whole[0, 0], other[0, 0]) and not np.allclose(whole[0, 0], plain[0, 0])


@each_family
def test_init_std_scales_the_first_weights(name):
    narrow, wide = (small(name, init_std=std).state_dict() for std in (None, 0.04))
    for key, a in narrow.items():
        np.testing.assert_allclose(wide[key], a * (2 if a.ndim == 2 else 1), rtol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_embed_std_is_for_embeddings_that_are_no_output_layer(tied, tmp_path):
    usual, wide = (small("llama", tied=tied, embed_std=std) for std in (None, 1.0))
    for name, a in usual.state_dict().items():
        times = 50 if name == "model.embed_tokens.weight" and not tied else 1
        np.testing.assert_allclose(wide.state_dict()[name], a * times, rtol=1e-5)
    wide.save_pretrained(tmp_path)
    assert tl.from_pretrained(tmp_path).config == wide.config


def test_initial_weights_of_gpt2_follow_its_paper():
    model = GPT(GPTConfig(vocab_size=300, context=64, layers=8, heads=4, width=64), seed=5)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            assert np.all(p.data == (0 if name.endswith("bias") else 1))
        else:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02  # 1 / sqrt(2 * 8 layers)
            assert abs(p.data.std() / std - 1) < 0.05


@each_family
def test_flops_are_those_of_the_products_that_are_run(name):
    whole = {"window": None} if name in ("mistral", "mixtral") else {}
    model, counted = small(name, **whole), []

    def matmul(a, b, transpose_a=False, transpose_b=False):
        y = ops.matmul.reference(a, b, transpose_a, transpose_b)
        counted.append(2 * y.size * a.shape[-1])
        return y

    def attention(q, k, v, causal=True, lengths=None):
        (B, T, H, D), before = q.shape, len(counted)
        y = ops.attention.reference(q, k, v, causal, lengths)
        counted[before:] = [B * H * sum(2 * 2 * (t + 1 if causal else T) * D for t in range(T))]
        return y

    with ops.override(matmul=matmul, linear=ops.linear.reference, attention=attention):
        model(np.zeros((3, 5), int))
    assert sum(n for _, m in model.named_modules() for n in m.flops(3, 5).values()) == sum(counted)


def test_the_summary_fits_a_terminal_and_adds_up():
    model = GPT(GPTConfig(vocab_size=50257, **GPT.PRESETS["small"]), seed=None)
    table = summarise(model, batch=1, context=1024)
    assert max(map(len, table.splitlines())) <= 80
    assert "124,439,808" in table.splitlines()[-1]
    assert sum(int(n.replace(",", "")) for n in re.findall(r"[\d,]\) +([\d,]+)", table)) == 124_439_808
    rows = [line.split()[0] for line in table.splitlines()[2:-2]]
    assert rows[:4] == ["wte", "wpe", "h.*.ln_1", "h.*.attn.c_attn"] and rows[-1] == "lm_head"
    model.a_name_that_is_much_longer_than_the_column = model.h
    assert max(map(len, summarise(model).splitlines())) <= 80


def test_the_preset_of_the_stories_has_its_size():
    config = make_config({"model_type": "llama"} | Llama.PRESETS["llama-110m"])
    sizes = 2 * 32000 * 768 + 12 * (4 * 768**2 + 3 * 768 * 2048 + 2 * 768) + 768
    assert Llama(config, seed=None).num_parameters() == sizes


@pytest.mark.parametrize("name", names())
def test_every_number_of_a_config_is_checked(name):
    for field in dataclasses.fields(family(name).config_class):
        if field.type in (int, float, int | None, float | None):
            for wrong in (-1, True, "8", float("nan")):
                with pytest.raises(UserError, match=f"{field.name} must be"):
                    small(name, **{field.name: wrong})


@pytest.mark.parametrize("settings, message", [
    ({"model_type": "gtp2"}, "there is no model 'gtp2'; did you mean gpt2?"),
    ({}, "there is no model None; there are gpt, gpt2, llama, mistral, qwen2"),
    ({"model_type": ["gpt"]}, "there is no model"),
    ({"model_type": "gpt", "depth": 3}, "gpt2 has no setting 'depth'; it has vocab_size, context"),
    ({"model_type": "llama", **SMALL}, "llama needs the setting 'hidden': the inner"),
    ({"model_type": "gpt", **SMALL, "init_std": 0.0}, "init_std must be a number, above 0"),
    ({"model_type": "gpt", **SMALL, "bias": 1}, "bias must be true or false, got 1"),
    ({"model_type": "gpt", **SMALL, "heads": 5}, "5 heads cannot share a width of 24: make width a multiple"),
    ({"model_type": "llama", **SMALL, **EXTRA["llama"], "heads": 5}, "5 heads cannot share a width of 24"),
    ({"model_type": "llama", **SMALL, **EXTRA["llama"], "heads": 8}, "even multiple"),  # rope turns pairs
    ({"model_type": "llama", **SMALL, **EXTRA["llama"], "kv_heads": 4}, "make heads a multiple of kv_heads"),
])
def test_settings_that_make_no_model_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        tl.build(settings)


def test_only_configs_of_families_are_built():
    with pytest.raises(TypeError, match="got int"):
        build(3)


@dataclasses.dataclass
class Settings:
    n: int = setting(1, min=1, max=4)
    x: float = setting(0.5, above=0, below=1)
    s: str = setting("a", choices=("a", "b"))
    n_or_none: int | None = setting(None, min=0)


@pytest.mark.parametrize("changes, message", [
    ({"n": 0}, "model.n must be a whole number, at least 1 and at most 4, got 0"),
    ({"n": 5}, "got 5"), ({"n": True}, "got True"), ({"n": 1.0}, "got 1.0"), ({"n": None}, "got None"),
    ({"x": 0}, "model.x must be a number, above 0 and below 1, got 0"), ({"x": 1}, "got 1"),
    ({"x": float("nan")}, "got nan"), ({"x": "1"}, "got '1'"),
    ({"s": "c"}, "model.s must be one of a, b, got 'c'"), ({"n_or_none": -1}, "got -1"),
])
def test_a_setting_outside_of_its_bounds_is_named(changes, message):
    check(Settings())
    check(Settings(n=4, x=0.999, s="b", n_or_none=0))
    with pytest.raises(UserError, match=message):
        check(Settings(**changes), "model.")
