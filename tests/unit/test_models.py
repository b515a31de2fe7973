"""The registry: every family is built from settings, has presets, and keeps what a DecoderLM promises."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.models.registry import build, family, make_config, names
from tinyllm.ops.registry import _compiled
from tinyllm.tensor import no_grad

BACKENDS = ["numpy"] + ["compiled"] * (_compiled is not None)  # else no bits are promised

SMALL = {"vocab_size": 11, "context": 8, "layers": 2, "heads": 2, "width": 12}
EXTRA = {name: {"kv_heads": 1, "hidden": 20} for name in names() if name != "gpt2"}
each_family = pytest.mark.parametrize("name", names())


def small(name, seed=0, **changes):
    return build({"model_type": name} | SMALL | EXTRA.get(name, {}) | changes, seed)


@each_family
def test_a_family_is_built_from_settings_or_a_config(name):
    model = small(name)
    assert type(model) is family(name) and type(model).model_type == name
    same = build(model.config)
    assert all(np.array_equal(a, same.state_dict()[n]) for n, a in model.state_dict().items())
    assert not small(name, seed=None).lm_head.weight.data.any()
    assert [p.shape for p in small(name, seed=7).parameters()] == [p.shape for p in model.parameters()]


@each_family
def test_every_family_has_the_presets_and_help_for_every_setting(name):
    cls = family(name)
    assert {"nano", "mini", "small"} <= cls.PRESETS.keys()
    for preset in ("nano", "mini"):
        assert make_config({"model_type": name, "vocab_size": 65} | cls.PRESETS[preset]).vocab_size == 65
    assert all(field.metadata["help"] for field in dataclasses.fields(cls.config_class))


@each_family
def test_hidden_is_the_body_of_the_embedding_and_the_head_scores_it(name):
    model, tokens = small(name), np.array([[1, 2, 3], [4, 5, 6]])
    positions = np.arange(3)[None].repeat(2, 0)
    with no_grad():
        x = model.body(model.embed(tokens, positions), positions)
        assert np.array_equal(model.hidden(tokens).data, x.data)
        assert np.array_equal(model(tokens).data, model.head(x).data)


def lively(name, seed=0, dtype=np.float32, std=0.4, **changes):
    """A small model whose weights are large enough for every part of it to matter."""
    model, rng = small(name, None, **changes), np.random.default_rng(seed)
    for p in model.parameters():
        p.data = (p.data + rng.normal(size=p.shape) * std).astype(dtype)
    return model


@each_family
@given(t=st.integers(1, 7), other=st.integers(0, 10), seed=st.integers(0, 9))
def test_no_position_sees_a_later_token(name, t, other, seed):
    model, tokens = lively(name, seed), np.random.default_rng(seed).integers(0, 11, (1, 8))
    changed = tokens.copy()
    changed[0, t:] = other
    before, after = model(tokens).data[0], model(changed).data[0]
    np.testing.assert_array_equal(before[:t], after[:t])
    if tokens[0, t] != other:
        assert not np.allclose(before[t], after[t])


@each_family
@pytest.mark.parametrize("backend", BACKENDS)
@given(
    pieces=st.lists(st.integers(1, 4), min_size=1, max_size=4).filter(lambda n: sum(n) <= 8),
    batch=st.integers(1, 3),
    seed=st.integers(0, 9),
)
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
        model.loss(tokens, targets).backward()
        for part, p in model.named_parameters():  # one random direction for each, so that none hides
            direction, here, slopes = rng.normal(size=p.shape), p.data, []
            for h in (1e-5, -1e-5):
                p.data = here + h * direction
                slopes.append(model.loss(tokens, targets).item())
            p.data = here
            slope = (slopes[0] - slopes[1]) / 2e-5
            assert abs((p.grad * direction).sum() - slope) < 1e-6 * max(1, abs(slope)), part


@each_family
def test_a_new_model_knows_nothing_and_learns_a_batch_by_heart(name):
    model, tokens = small(name), np.random.default_rng(0).integers(0, 11, (4, 9))
    assert abs(model.loss(tokens[:, :-1], tokens[:, 1:]).item() - np.log(11)) < 0.1
    for _ in range(300):
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        for p in model.parameters():
            p.data, p.grad = p.data - 0.5 * p.grad, None
    assert model.loss(tokens[:, :-1], tokens[:, 1:]).item() < 1.0


@each_family
@pytest.mark.parametrize("tokens, error, message", [
    ([], UserError, "at least one token"),
    ([[[1]]], UserError, "shape"),
    ([1, 11], UserError, "token 11 is outside of the model's vocabulary of 11"),
    ([1, -1], UserError, "token -1 is outside"),
    ([0] * 9, UserError, "9 tokens exceed the model's context of 8"),
    ([1.0, 2.0], TypeError, "whole numbers"),
])  # fmt: skip
def test_tokens_that_cannot_be_read_are_named(name, tokens, error, message):
    with pytest.raises(error, match=message):
        small(name)(tokens)


@each_family
def test_a_cache_that_would_overflow_is_refused_and_unchanged(name):
    model = small(name)
    cache = model.new_cache()
    model([1, 2, 3, 4, 5, 6], cache)
    with pytest.raises(UserError, match="9 tokens exceed the model's context of 8"):
        model([1, 2, 3], cache)
    assert [layer.length for layer in cache] == [6, 6]
    model([1, 2], cache)
    with pytest.raises(ValueError, match="must have the shape"):
        model.loss([1, 2], [1])


@each_family
def test_losses_of_tokens_are_log_probabilities_and_their_weighted_mean_the_loss(name):
    model, rng = small(name, init_std=0.5), np.random.default_rng(0)
    tokens, targets, weights = rng.integers(0, 11, (3, 8)), rng.integers(0, 11, (3, 8)), rng.random((3, 8))
    targets[0, :4] = -100
    logits = model(tokens).data.astype(np.float64)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    counted = targets >= 0
    expected = np.where(counted, -np.take_along_axis(logp, targets.clip(0)[..., None], -1)[..., 0], 0)
    np.testing.assert_allclose(model.token_losses(tokens, targets).data, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.log_probs(tokens, targets).data, -expected, rtol=1e-4, atol=1e-5)
    assert np.isclose(model.loss(tokens, targets).item(), expected.sum() / counted.sum(), rtol=1e-4)
    mean = (expected * weights).sum() / weights[counted].sum()
    assert np.isclose(model.loss(tokens, targets, weights).item(), mean, rtol=1e-4)
    assert model.loss(tokens, targets, weights * 0).item() == 0
    with pytest.raises(ValueError, match="at least 0"):
        model.loss(tokens, targets, weights - 0.5)
    with pytest.raises(ValueError, match="must have the shape"):
        model.loss(tokens, targets, weights[:, :3])
    quantised = tl.quantize(small(name, init_std=0.5), 8)
    with no_grad():
        near = quantised.token_losses(tokens, targets).data
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
        np.testing.assert_allclose(p.grad, q.grad, rtol=1e-4, atol=1e-7)


@each_family
def test_packed_documents_and_prefixes_see_what_they_should(name):
    model, rng = small(name, init_std=0.5), np.random.default_rng(0)
    tokens = rng.integers(0, 11, (1, 8))
    with no_grad():
        plain = model(tokens).data
        starts = np.array([[0, 0, 0, 3, 3, 3, 3, 3]])
        packed, changed = model(tokens, starts=starts).data, tokens.copy()
        changed[0, :3] = (changed[0, :3] + 1) % 11
        assert np.array_equal(packed[0, :3], plain[0, :3])
        assert np.array_equal(model(changed, starts=starts).data[0, 3:], packed[0, 3:])
        ends = np.array([[4, 4, 4, 4, 5, 6, 7, 8]])
        changed[:] = tokens
        changed[0, 3] = (changed[0, 3] + 1) % 11
        whole, other = model(tokens, ends=ends).data, model(changed, ends=ends).data
        assert not np.allclose(whole[0, 0], other[0, 0]) and not np.allclose(whole[0, 0], plain[0, 0])


def test_a_window_forgets_what_lies_behind_it():
    model, tokens = small("mistral", init_std=0.5, window=2), np.arange(8)[None]
    changed = tokens.copy()
    changed[0, 0] = 9
    with no_grad():
        before, after = model(tokens).data, model(changed).data
        cache = model.new_cache()
        steps = [model(tokens[:, t : t + 1], cache).data for t in range(8)]
    reach = 2 * (2 - 1)  # two layers, each one token back
    assert not np.allclose(before[0, reach], after[0, reach])
    assert np.array_equal(before[0, reach + 1 :], after[0, reach + 1 :])
    assert np.allclose(np.concatenate(steps, 1), before, rtol=1e-4, atol=1e-4)


@each_family
def test_adapters_learn_alone_and_merge(name):
    tokens = np.random.default_rng(0).integers(0, 11, (2, 9))
    x, y = tokens[:, :-1], tokens[:, 1:]
    model = small(name, init_std=0.3)
    before = {n: a.copy() for n, a in model.state_dict().items()}
    first = model.loss(x, y).item()
    assert nn.adapt(model, rank=2, alpha=4, where="(attn|mlp)") is model
    assert model.loss(x, y).item() == first
    learnt = model.parameters(trainable=True)
    assert len(learnt) == len(nn.adapter_state(model)) < len(model.parameters())
    for _ in range(20):
        model.loss(x, y).backward()
        for p in model.parameters():
            assert (p.grad is not None) == p.requires_grad
            if p.requires_grad:
                p.data, p.grad = p.data - 0.3 * p.grad, None
    loss = model.loss(x, y).item()
    assert loss < first - 0.1 and all(np.array_equal(model.state_dict()[n], a) for n, a in before.items())
    other = nn.adapt(small(name, init_std=0.3), rank=2, alpha=4, where="(attn|mlp)", seed=9)
    nn.load_adapter(other, nn.adapter_state(model))
    assert other.loss(x, y).item() == loss
    with pytest.raises(UserError, match="lora_a"):
        nn.load_adapter(other, {n: a[:1] for n, a in nn.adapter_state(model).items()})
    for needs_plain_layers in (lambda: model.save_pretrained("nowhere"), lambda: nn.quantize(model, 8)):
        with pytest.raises(UserError, match="merge"):
            needs_plain_layers()
    with pytest.raises(UserError, match="no linear layer has a name with 'atn'"):
        nn.adapt(small(name), where="atn")
    merged = nn.merge(model)
    assert merged.state_dict().keys() == before.keys()
    assert np.isclose(merged.loss(x, y).item(), loss, rtol=1e-4)


@each_family
def test_a_cache_has_room_for_what_was_asked(name):
    cache = small(name).new_cache(3, length=5)
    assert [layer.keys.shape[:2] for layer in cache] == [(3, 5)] * 2
    assert small(name).new_cache()[0].keys.shape[:2] == (1, 8)


@each_family
def test_init_std_scales_the_first_weights(name):
    narrow, wide = (small(name, init_std=std).state_dict() for std in (None, 0.04))
    for key, a in narrow.items():
        np.testing.assert_allclose(wide[key], a * (2 if a.ndim == 2 else 1), rtol=1e-6)


@pytest.mark.parametrize("settings, message", [
    ({"model_type": "gtp2"}, "there is no model 'gtp2'; there are gpt, gpt2, llama, mistral, qwen2"),
    ({}, "there is no model None"),
    ({"model_type": ["gpt"]}, "there is no model"),
    ({"model_type": "gpt", "depth": 3}, "gpt2 has no setting 'depth'; it has vocab_size, context"),
    ({"model_type": "llama", **SMALL}, "llama needs the setting 'kv_heads': K"),
    ({"model_type": "gpt", **SMALL, "init_std": 0.0}, "init_std must be a number, above 0"),
    ({"model_type": "gpt", **SMALL, "bias": 1}, "bias must be true or false, got 1"),
])  # fmt: skip
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
])  # fmt: skip
def test_a_setting_outside_of_its_bounds_is_named(changes, message):
    check(Settings())
    check(Settings(n=4, x=0.999, s="b", n_or_none=0))
    with pytest.raises(UserError, match=message):
        check(Settings(**changes), "model.")
