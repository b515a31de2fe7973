"""The registry: every family is built from settings, has presets, and keeps what a DecoderLM promises."""

import dataclasses

import numpy as np
import pytest

import tinyllm as tl
from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.models.registry import build, family, make_config, names
from tinyllm.tensor import no_grad

SMALL = {"vocab_size": 11, "context": 8, "layers": 2, "heads": 2, "width": 12}
EXTRA = {"llama": {"kv_heads": 1, "hidden": 20}}
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
    ({"model_type": "gtp2"}, "there is no model 'gtp2'; there are gpt, gpt2, llama"),
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
