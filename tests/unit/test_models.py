"""Build models from settings, and check their initial weights, presets and refusals."""

import dataclasses

import numpy as np
import pytest
from helpers import refuses
from tiny_models import MODELS, SIZES, V, each_family

import tinyllm as tl
from tinyllm.models import GPT, GPTConfig
from tinyllm.models.registry import build, family, make_config


@each_family
def test_a_family_is_built_from_settings_or_a_config_and_has_presets_and_help(name):
    cls = family(name)
    model = build(MODELS[name] | ({"balance": 0.0} if "experts" in MODELS[name] else {}))
    assert type(model) is cls and cls.model_type == name
    same = build(model.config)
    assert all(np.array_equal(a, same.state_dict()[n]) for n, a in model.state_dict().items())
    assert not any(p.data.any() for p in build(MODELS[name], seed=None).parameters() if p.ndim >= 2)
    tokens = np.random.default_rng(0).integers(0, V, (4, 9))
    nats = model.loss(tokens[:, :-1], tokens[:, 1:]).item()
    assert abs(nats - np.log(V)) < 0.1 or model.is_encoder_decoder  # uniform at first; T5's loss is larger
    for preset in ("nano", "mini", "small"):
        assert make_config({"model_type": name, "vocab_size": 65} | cls.PRESETS[preset]).vocab_size == 65
    assert all(field.metadata["help"] for field in dataclasses.fields(cls.config_class))


@pytest.mark.parametrize("name", [name for name in MODELS if "t5" not in name])
def test_init_std_scales_the_first_weights(name):
    narrow, wide = (build(MODELS[name] | {"init_std": std}).state_dict() for std in (None, 0.04))
    for key, a in narrow.items():
        np.testing.assert_allclose(wide[key], a * (2 if a.ndim == 2 else 1), rtol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_embed_std_is_for_embeddings_that_are_no_output_layer(tied):
    usual, wide = (build(MODELS["llama"] | {"tied": tied, "embed_std": std}) for std in (None, 1.0))
    for name, a in usual.state_dict().items():
        times = 50 if name == "model.embed_tokens.weight" and not tied else 1
        np.testing.assert_allclose(wide.state_dict()[name], a * times, rtol=1e-5)


def test_initial_weights_of_gpt2_follow_its_paper():
    model = GPT(GPTConfig(vocab_size=300, context=64, layers=8, heads=4, width=64), seed=5)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            assert np.all(p.data == (0 if name.endswith("bias") else 1))
        else:
            std = 0.02 / 4 if name.endswith("c_proj.weight") else 0.02  # 1 / sqrt(2 * 8 layers)
            assert abs(p.data.std() / std - 1) < 0.05


@pytest.mark.parametrize("settings, message", [
    ({"model_type": "gtp2"}, "there is no model 'gtp2'; did you mean gpt2?"),
    ({}, "there is no model .*None.*; there are gpt, gpt2, llama, mistral, qwen2"),
    ({"model_type": ["gpt"]}, "there is no model"),
    ({"model_type": "gpt", "depth": 3}, "gpt2 has no setting 'depth'; it has vocab_size, context"),
    ({"model_type": "llama", **SIZES}, "llama needs the setting 'hidden': the inner"),
    *[({"model_type": name, **SIZES, "hidden": 48} | sizes, message) for name, sizes, message in (
        ("mixtral", {"experts": 2, "top": 3}, "a token cannot use top = 3 of 2 experts"),
        ("llama", {"heads": 5}, "5 heads cannot share a width of 32"),
        ("llama", {"heads": 32}, "even multiple"),  # rope rotates pairs
        ("llama", {"kv_heads": 3}, "make heads a multiple of kv_heads"),
        ("fuyu", {"side": 6, "patch": 4}, "patches of 4 do not fill a side of 6"),
        ("fuyu", {"picture": 19}, "token 19 is outside"),
        ("fuyu", {"heads": 16}, "make it a multiple of 64"),
        *[("bert", {"task": "classify", "labels": labels}, "labels must be a list of names")
          for labels in ([], [1], ["a", None])],
    )],
])
def test_settings_that_make_no_model_are_named(settings, message):
    refuses(message, tl.build, settings)
    refuses("got int", build, 3, error=TypeError)
