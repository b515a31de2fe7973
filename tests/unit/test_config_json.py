"""config.json says all that a model is, or the model is refused; what others write there is obeyed."""

import dataclasses

import numpy as np
import pytest
from tiny_models import MODELS, SCALINGS, change, logits, made, open_there, theirs_logits

from tinyllm.errors import UserError
from tinyllm.models import family, from_pretrained, names
from tinyllm.models.registry import make_config


@pytest.mark.parametrize("name, changes, field", [
    ("deepseek_v3", {"kv_heads": 2}, "kv_heads"), ("deepseek_v3", {"mlp_bias": True}, "mlp_bias"),
    ("qwen3_moe", {"window": 3}, "window"), ("mt5", {"tied": False, "scaled": True}, "scaled"),
    *[(name, {"bias": True}, "bias") for name in ("mistral", "mixtral", "qwen2")],
    *[(name, {"mlp_bias": True}, "mlp_bias")
      for name in ("mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe")],
])
def test_a_model_that_its_config_json_cannot_describe_is_refused(tmp_path, name, changes, field):
    with pytest.raises(UserError, match=f"a {MODELS[name]['model_type']} cannot have {field} = "):
        made(name, **changes)
    model = family(MODELS[name]["model_type"])(make_config(MODELS[name] | changes))
    with pytest.raises(UserError, match=f"cannot have {field} = "):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name, changes", [
    ("deepseek_v3", {"query_latent": None}), ("t5", {"end": 3}),
    ("gpt2", {"dropout": 0.1, "embed_dropout": 0.1}), ("mistral", {"window": None}),
    ("bert", {"task": "classify", "labels": ["no", "yes"]}), ("bert", {"task": "encode"}),
])
def test_settings_that_are_left_out_come_back(tmp_path, name, changes):
    model = made(name, **changes)
    model.save_pretrained(tmp_path)
    assert from_pretrained(tmp_path).config == model.config


@pytest.mark.parametrize("name", ["llama", "mixtral", "smollm3"])
def test_rope_scaling_replaces_rope_parameters_as_in_transformers(tmp_path, name):
    made(name).save_pretrained(tmp_path)
    scaling = {"rope_type": "linear", "factor": 4.0}
    change(tmp_path, rope_scaling=scaling, rope_theta=...,
           rope_parameters={"rope_type": "default", "rope_theta": 77.0})
    config = from_pretrained(tmp_path).config
    usual = {"llama": 10000.0, "mixtral": 1000000.0, "smollm3": 2000000.0}[name]
    assert (config.scaling, config.theta) == (scaling, usual)


@pytest.mark.parametrize("name, without, field", [
    ("mixtral", "num_experts", "experts"),
    ("qwen3_moe", "num_local_experts", "experts"),
    ("t5 1.1", "scale_decoder_outputs", "scaled"), ("t5", "decoder_start_token_id", "start"),
])
@pytest.mark.parametrize("value", [..., None], ids=["missing", "null"])
def test_a_setting_with_several_names_is_read_by_each(tmp_path, name, without, field, value):
    model = made(name)
    model.save_pretrained(tmp_path)
    change(tmp_path, **{without: value})
    assert getattr(from_pretrained(tmp_path).config, field) == getattr(model.config, field)


def test_a_gpt2_that_says_nothing_of_dropout_has_that_of_transformers(tmp_path):
    made("gpt2").save_pretrained(tmp_path)
    change(tmp_path, resid_pdrop=..., embd_pdrop=..., attn_pdrop=...)
    config = from_pretrained(tmp_path).config
    assert (config.dropout, config.embed_dropout, config.attention_dropout) == (0.1, None, 0.1)


def test_heads_of_keys_that_are_null_are_as_many_as_heads(tmp_path):
    made("llama tied").save_pretrained(tmp_path)
    change(tmp_path, num_key_value_heads=None)
    assert from_pretrained(tmp_path).config.kv_heads == 4


def test_dynamic_scaling_changes_nothing_within_the_context(tmp_path):
    plain, scaling = made("llama"), {"rope_type": "dynamic", "factor": 4.0}
    model = made("llama", scaling=scaling)
    assert np.array_equal(logits(model), logits(plain))
    model.save_pretrained(tmp_path)
    assert from_pretrained(tmp_path).config.scaling == scaling


ROTARY = [name for name in names()
          if any(f.name == "scaling" for f in dataclasses.fields(family(name).config_class))]
KINDS = SCALINGS | {"dynamic": {}, "yarn backwards": SCALINGS["yarn"] | {"beta_fast": 1, "beta_slow": 9}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROTARY)
def test_every_scaling_is_that_of_transformers_in_every_rotary_family(tmp_path, transformers, name, kind):
    model = made(name, scaling={"rope_type": kind.split()[0], "factor": 4.0, **KINDS[kind]})
    model.save_pretrained(tmp_path)
    theirs = theirs_logits(open_there(transformers, tmp_path), model)
    np.testing.assert_allclose(logits(model), theirs, rtol=1e-4, atol=1e-4)
    assert kind == "dynamic" or not np.allclose(logits(model), logits(made(name)), atol=1e-2)


@pytest.mark.parametrize("scaling, message", [
    ({"rope_type": "ntk", "factor": 2.0}, "transformers has no rope_scaling 'ntk'"),
    ({"rope_type": "dynamic"}, "scaling"), ({"rope_type": "dynamic", "factor": 0.5}, "at least 1"),
])
def test_a_scaling_that_transformers_cannot_open_is_refused(scaling, message):
    with pytest.raises(UserError, match=message):
        made("llama", scaling=scaling)
