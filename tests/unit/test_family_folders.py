"""Check saved models of all families: tinyllm and transformers read them; other folders are refused."""

import contextlib
import dataclasses
import itertools
import json
import re
import tracemalloc

import numpy as np
import pytest
import tiny_models
from helpers import refuses
from tiny_models import MODELS, change, each, each_family, logits, made, open_there, rewrite, theirs_logits

import tinyllm as tl
from tinyllm import nn, ops
from tinyllm.models import build, family, from_pretrained, names
from tinyllm.models.layout import hf_names, read_config, write_config
from tinyllm.models.pretrained import second_names
from tinyllm.models.registry import make_config


def same_state(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


SOME = {  # name of MODELS -> settings that it does not try
    "t5": {"end": 3}, "mistral": {"window": None}, "llama": {"embed_std": 1.0}, "bert": {"task": "encode"},
    "bert of odd sizes": {"task": "classify", "labels": ["no", "yes"]},
}


@tiny_models.each_stored
def test_what_is_saved_is_read_bit_for_bit(tmp_path, name, bits):
    model = made(name)
    model.save_pretrained(tmp_path / "float")
    if bits:
        tl.quantize(model, bits)
        assert same_state(from_pretrained(tmp_path / "float", bits=bits), model)
    elif name in SOME:
        (other := made(name, **SOME[name])).save_pretrained(tmp_path / "other")
        assert from_pretrained(tmp_path / "other").config == other.config
    for place in ("a", "a", "b"):  # the second time over an existing folder
        model.save_pretrained(tmp_path / place)
        model = from_pretrained(tmp_path / place, bits if place == "b" else None)  # as they are stored
        assert not any(array.ctypes.data % 64 for array in model.state_dict().values()), "for kernels"
    expected = tl.quantize(made(name), bits) if bits else made(name)
    assert same_state(model, expected) and model.config == expected.config and not model.training
    before, dropped = logits(model), any("dropout" in key and x for key, x in vars(model.config).items())
    assert np.array_equal(before, logits(expected))
    assert np.array_equal(before, logits(model.train())) != dropped
    for file in ("config.json", "generation_config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert json.loads((tmp_path / "a" / "generation_config.json").read_text())["eos_token_id"] is None


@each
def test_half_precision_prefixes_and_a_second_copy_of_a_tied_head_are_read(tmp_path, name):
    model = made(name)
    for p in model.parameters():
        p.data = p.data.astype(np.float16).astype(np.float32)
    model.save_pretrained(tmp_path)
    file = model.layout.file_name
    copies = {file(name): file(tied) for name, tied in second_names(model).items()}
    rewrite(tmp_path, lambda state: state | {name: state[tied] for name, tied in copies.items()})
    rewrite(tmp_path, lambda state: {model.layout.prefix + n: a.astype(np.float16) for n, a in state.items()})
    assert np.array_equal(logits(from_pretrained(tmp_path)), logits(model))


OLD = {
    "gpt2": {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 6, 6), np.float32)) for i in range(2)}
    | {"h.0.attn.masked_bias": np.array(-1e4, np.float32)},
    "bert": {"bert.pooler.dense.weight": np.ones((32, 32)), "cls.seq_relationship.bias": np.ones(2),
             "bert.embeddings.position_ids": np.arange(12)[None]},
    "llama": {"model.layers.1.self_attn.rotary_emb.inv_freq": np.ones(4)},
}


@pytest.mark.parametrize("name", OLD)
def test_what_old_files_hold_besides_weights_is_left_out(tmp_path, name):
    """BERT's files of 2018 also call the weights of norms gamma and beta."""
    model = made(name)
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda state: OLD[name] | {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a
        for n, a in state.items()})
    assert np.array_equal(logits(from_pretrained(tmp_path)), logits(model))


# Each setting of config.json is obeyed, whoever wrote it, or the model is refused.


@pytest.mark.parametrize("name, changes, field", [
    ("deepseek_v3", {"kv_heads": 2}, "kv_heads"), ("deepseek_v3", {"mlp_bias": True}, "mlp_bias"),
    ("qwen3_moe", {"window": 3}, "window"),
    *[(name, {"bias": True}, "bias") for name in ("mistral", "mixtral", "qwen2")],
    *[(name, {"mlp_bias": True}, "mlp_bias")
      for name in ("mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe")],
])
def test_a_model_that_its_config_json_cannot_describe_is_refused(tmp_path, name, changes, field):
    model = family(MODELS[name]["model_type"])(make_config(MODELS[name] | changes))
    for act in (lambda: made(name, **changes), lambda: model.save_pretrained(tmp_path / "new")):
        refuses(f"a {name} cannot have {field} = ", act)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name, said, expected", [
    ("mistral", {"sliding_window": ...}, {"window": 4096}),  # default of transformers
    ("gpt2", dict.fromkeys(("resid_pdrop", "embd_pdrop"), ...), {"dropout": 0.1}),
    ("llama tied", {"num_key_value_heads": None}, {"kv_heads": 4}),
    ("t5 1.1", {"tie_word_embeddings": True}, {}),  # ignored: lm_head differs
    *[(name, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}, "rope_theta": ...,
              "rope_parameters": {"rope_type": "default", "rope_theta": 77.0}}, {"theta": theta})
      for name, theta in (("llama", 1e4), ("mixtral", 1e6), ("smollm3", 2e6))],
    ("llama yarn", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},  # trained on the model's context
     {"scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 12}}),
    *[(name, {key: value}, {}) for value in (..., None) for name, key in (
        ("mixtral", "num_experts"), ("qwen3_moe", "num_local_experts"), ("t5", "decoder_start_token_id"),
        ("t5 1.1", "scale_decoder_outputs"))],  # settings with two names
    ("mixtral", {"router_jitter_noise": 0.1}, {}), ("falcon", {"hidden_dropout": 0.1}, {}),  # in training
    ("fuyu", {"hidden_dropout": 0.1}, {}),
    *[(name, {"use_sliding_window": True, "max_window_layers": 2, "layer_types": ...}, {})
      for name in ("qwen2", "qwen3")],  # of its two layers none has a window
    ("fuyu", {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}, "rope_theta": ...},
     {"theta": 1e4}),
])
def test_what_a_config_json_leaves_out_has_the_value_of_transformers(tmp_path, name, said, expected):
    model = made(name)
    model.save_pretrained(tmp_path)
    change(tmp_path, **said)
    config = from_pretrained(tmp_path).config
    for setting, value in vars(model.config).items():
        if setting != "scaling" or setting in expected:
            assert getattr(config, setting) == expected.get(setting, value)


IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 3,
       "sep_token_id": 4}
OTHERS = {"bos_token_id": 5, "eos_token_id": [6, 7], "pad_token_id": 8, "decoder_start_token_id": 9}


def ids_in(path):
    found = json.loads(path.read_text())
    return {key: value for key, value in found.items() if key in IDS and value is not None}


@each_family
def test_every_id_of_a_folder_survives(tmp_path, name):
    made(name).save_pretrained(tmp_path)
    own = {key: IDS[key] for _, files in fields_of(name).values() for key in files if key in IDS}
    for ids, sampled in ((IDS, OTHERS), (IDS, {}), (IDS, None), (own, {"pad_token_id": 8})):
        change(tmp_path, **dict.fromkeys(IDS) | ids)
        (tmp_path / "generation_config.json").write_text(json.dumps(sampled))
        if sampled is None:
            (tmp_path / "generation_config.json").unlink()
        opened = from_pretrained(tmp_path)
        for model in (opened, opened.for_task("encode") if name == "bert" else opened):
            model.save_pretrained(tmp_path / "again")
            assert ids_in(tmp_path / "again/config.json") == ids
            expected = ids if sampled is None else own | sampled
            assert ids_in(tmp_path / "again/generation_config.json") == expected


@each_family
def test_an_id_that_is_no_number_is_named(tmp_path, name):
    made(name).save_pretrained(tmp_path)
    files = "config.json", "generation_config.json"
    for file, key, value in itertools.product(files, [*IDS][:3], ("x", [1, "x"], True, -2)):
        text = (tmp_path / file).read_text()
        change(tmp_path, file, **{key: value})
        refuses(rf"{file}.*: (\w+_token_id|start|end) must be an? ", from_pretrained, tmp_path)
        (tmp_path / file).write_text(text)


ROPE = {"rope_type": "linear", "rope_theta": 77.0}


@pytest.mark.parametrize("inner, outer, theta, factor", [
    ({"rope_parameters": ROPE | {"factor": 2.0}}, {"rope_parameters": ROPE | {"factor": 3.0}}, 77.0, 2.0),
    ({}, {"rope_theta": 5.0, "rope_scaling": ROPE | {"factor": 3.0}}, 1e4, None),
])
def test_rope_settings_in_the_text_config_of_fuyu_win(tmp_path, inner, outer, theta, factor, request):
    made("fuyu").save_pretrained(tmp_path)
    change(tmp_path, **dict.fromkeys(("rope_theta", "rope_scaling"), ...))
    text = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "persimmon"}
    change(tmp_path, text_config=text | inner, **outer)
    model = from_pretrained(tmp_path)
    assert model.config.theta == theta and (model.config.scaling or {}).get("factor") == factor
    transformers = request.getfixturevalue("transformers")
    theirs = theirs_logits(open_there(transformers, tmp_path), model)
    np.testing.assert_allclose(logits(model), theirs, rtol=1e-4, atol=1e-4)


def test_dynamic_scaling_comes_back_and_changes_nothing_within_the_context(tmp_path):
    model = made("llama", scaling={"rope_type": "dynamic", "factor": 4.0})
    model.save_pretrained(tmp_path)
    assert from_pretrained(tmp_path).config == model.config
    assert np.array_equal(logits(model), logits(made("llama")))


# What cannot be run is refused: try wrong values next to the declared ones.

WRONG = True, False, 0, -1, 3, 2.5, "other", [1], {"a": 1}


def refusal(name, **said):
    """Change settings of a model's config.json (`...` removes one); return the line that refuses it."""
    cls = family(MODELS[name]["model_type"])
    found = write_config(cls, make_config(MODELS[name])) | said
    found = {key: value for key, value in found.items() if value is not ...}
    return refuses(r"config\.json in FOLDER", read_config, cls, "FOLDER", found)


def is_read(cls, name, value):
    """Return True if a family reads a setting of config.json without converting its value."""
    return cls.layout.read({name: value}).get(name) is value


def fields_of(name):
    """Return {name of a config's field: (the field, its names in config.json)}."""
    config = make_config(MODELS[name])
    return {f.name: (f, hf_names(config, f)) for f in dataclasses.fields(config)
            if f.name not in ("task", "labels", "scaling")}


@each_family
def test_a_value_beside_a_fixed_setting_is_named(name):
    cls, config = family(name), make_config(MODELS[name])
    always = {"is_causal": (cls.objective != "masked",), "per_layer_config": (None, {})}
    for setting, values in (cls.layout.fixed | always).items():
        allowed = values(config) if callable(values) else values
        ours = [field for field, (_, files) in fields_of(name).items() if setting in files]
        for wrong in WRONG:
            if wrong not in allowed and is_read(cls, setting, wrong):
                line = refusal(name, **{setting: wrong})
                assert f"{setting} = {wrong!r}" in line or any(field in line for field in ours)


def beside(field):
    """List values that a config's field cannot have."""
    bounds, kind = field.metadata, str(field.type)
    if "int" not in kind and "float" not in kind:
        return [1, "yes", [True]] if "bool" in kind else ["other", 3]
    numbers = [bounds[name] for name in ("above", "below") if name in bounds]
    numbers += [bounds[name] + step for name, step in (("min", -1), ("max", 1)) if name in bounds]
    return [*numbers, True, "8", float("nan"), [8]]


@each_family
def test_a_value_beside_the_bounds_of_a_setting_is_named(name):
    cls, fields = family(name), fields_of(name)
    for setting, (field, files) in fields.items():
        also = [other for other, (_, its) in fields.items() if {*files} & {*its}]
        for wrong in beside(field):
            refuses(f"{setting} must be", build, MODELS[name] | {setting: wrong})
            if all(is_read(cls, file, wrong) for file in files):
                line = refusal(name, **dict.fromkeys(files, wrong))
                assert any(f"{other} must be" in line for other in also)


@each_family
def test_sizes_that_are_missing_or_not_those_of_the_weights_are_refused(tmp_path, name):
    model, other = made(name), {"vocab_size": 8, "layers": 3, "width": 64, "hidden": 40, "latent": 8,
                                "head_width": 16, "segments": 4}
    model.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    for field in dataclasses.fields(model.config):
        files = hf_names(model.config, field)
        if field.default is dataclasses.MISSING and not {*files} & model.layout.defaults.keys():
            assert f"{files[0]} is missing" in refusal(name, **dict.fromkeys(files, ...))
        if field.name in other:
            change(tmp_path, **dict.fromkeys(files, other[field.name]))
            refuses(re.escape(str(tmp_path)), from_pretrained, tmp_path)
            (tmp_path / "config.json").write_text(text)


@each_family
def test_a_config_that_lies_about_its_sizes_takes_no_memory(tmp_path, name):
    made(name).save_pretrained(tmp_path)
    cls = family(name).config_class
    fields = {field.name: hf_names(cls, field)[0] for field in dataclasses.fields(cls)}
    sizes = [fields[size] for size in ("width", "context", "hidden") if size in fields]
    change(tmp_path, **dict.fromkeys(sizes, 2**22), vocab_size=2**24)
    tracemalloc.start()
    refuses(r"has shape|head_dim", from_pretrained, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


LLAMA3 = {"rope_type": "llama3", "factor": 8.0}
YARN = {"rope_type": "yarn", "factor": 4.0}


@pytest.mark.parametrize("name, changes, message", [
    ("gpt2", {"model_type": "bart"}, "there is no model 'bart'; did you mean bert"),
    ("gpt2", {"model_type": ...}, "no model 'None'"),
    ("deepseek_v3", {"first_k_dense_replace": 1}, "first_k_dense_replace = 1"),  # layer 0 has experts
    ("gpt2", {"n_layer": 2**24}, "16777216 layers, the weights 28 arrays"),
    ("t5", {"num_decoder_layers": 2**24}, "16777216 layers, the weights"),
    ("gpt2", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "another library"),
    ("gpt2", {"quantization_config": {"quant_method": "tinyllm", "bits": 8}}, r"lack h\.0\.attn"),
    ("llama", {"head_dim": 7}, "set an even head_width"),
    ("llama", {"rope_parameters": LLAMA3}, "scaling.*lacks"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 0.0}}, "scaling"),
    ("llama", {"rope_scaling": {"rope_type": "ntk", "factor": 2.0}}, "has no rope_scaling 'ntk'"),
    ("deepseek_v3", {"rope_scaling": YARN | {"mscale_all_dim": 1.0}}, "does not know 'mscale_all_dim'"),
    ("falcon", {"rope_scaling": YARN | {"truncate": 1}}, "truncate"),
    ("llama", {"rope_scaling": [8.0]}, "must be an object"),
    ("t5", {"relative_attention_max_distance": 16}, "max_distance must exceed half of 32 buckets"),
    ("t5", {"decoder_start_token_id": 19}, "start 19 is not in a vocabulary of 19"),
    ("llama tied", {"tie_word_embeddings": False}, r"lack lm_head\.weight"),
    ("bert", {"architectures": ["BertForQuestionAnswering"]}, "BertForQuestionAnswering.*BertModel"),
    ("bert", {"architectures": ["BertForSequenceClassification"]}, r"lack pooler\.weight"),
    ("bert", {"architectures": [{}]}, "tinyllm runs"),
    ("gpt2", {"n_head": 3}, "3 heads cannot share"),
    ("fuyu", {"text_config": [1]}, "text_config must be an object"),
    ("fuyu", {"image_token_id": ...}, "token 71011 is outside"), ("fuyu", {"patch_size": ...}, "of 30 do"),
])
def test_settings_that_do_not_fit_each_other_are_refused(tmp_path, name, changes, message):
    made(name).save_pretrained(tmp_path)
    change(tmp_path, **changes)
    assert str(tmp_path) in refuses(message, from_pretrained, tmp_path)


@pytest.mark.parametrize("name, edit, message", [
    ("gpt2", lambda state: state | {"lm_head.weight": state["wte.weight"] + 1}, r"lm_head\.weight differs"),
    ("gpt2", lambda state: state | {"transformer.ln_f.bias": state["ln_f.bias"]}, r"holds ln_f\.bias twice"),
    ("gpt2", lambda state: state | {"ln_f.bias": np.arange(32)}, r"ln_f\.bias is int64"),
    ("gpt2", lambda state: state | {"ln_f.bias": state["ln_f.bias"] * np.inf}, r"holds numbers that are not"),
    *[("t5", lambda state, stack=stack: state | {f"{stack}.embed_tokens.weight": state["shared.weight"] + 1},
       rf"{stack}\.embed_tokens\.weight differs from shared\.weight") for stack in ("encoder", "decoder")],
])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_broken_weights_are_refused(tmp_path, name, edit, message):
    made(name).save_pretrained(tmp_path)
    rewrite(tmp_path, edit)
    refuses(message, from_pretrained, tmp_path)


def test_rounding_while_reading_never_takes_the_memory_of_all_weights(tmp_path):
    sizes = {"vocab_size": 50, "context": 8, "layers": 8, "heads": 4, "width": 128}
    model = build({"model_type": "llama", "kv_heads": 4, "hidden": 512, **sizes}, seed=None)
    model.save_pretrained(tmp_path)
    full = sum(array.nbytes for array in model.state_dict().values())
    tracemalloc.start()
    loaded = from_pretrained(tmp_path, bits=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * full, "of float32; weights of 8 bits are a quarter"
    assert sum(array.nbytes for array in loaded.state_dict().values()) < 0.3 * full


def test_places_and_bits_that_are_none_are_told_apart(tmp_path):
    made("llama").save_pretrained(tmp_path / "run" / "checkpoints" / "step-00000003")
    made("llama").save_pretrained(tmp_path / "float")
    from_pretrained(tmp_path / "float", bits=4).save_pretrained(tmp_path / "int4")
    (tmp_path / "file").write_text("")
    for act, message in [
        (lambda: from_pretrained(tmp_path / "run"), r"no config\.json: give a checkpoint .*step-00000003"),
        (lambda: from_pretrained(tmp_path / "none"), "there is no folder .*none: give the folder of a model"),
        (lambda: from_pretrained("ada/tiny"), "no folder ada/tiny; .*hf download ada/tiny --local-dir tiny"),
        (lambda: made("gpt2").save_pretrained(tmp_path / "file" / "folder"), "cannot write"),
        (lambda: from_pretrained(tmp_path / "float", bits=3), "8 or 4 bits, not 3"),
        (lambda: from_pretrained(tmp_path / "int4", bits=8), "of 4 bits already: they cannot become 8"),
    ]:
        refuses(message, act)


@each
def test_transformers_opens_what_is_saved_and_what_it_saves_opens_here(tmp_path, transformers, name):
    model = made(name)
    model.generation = {"eos_token_id": 3}
    model.save_pretrained(tmp_path / "ours")
    theirs, info = open_there(transformers, tmp_path / "ours", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(theirs).__name__ == model.architecture
    assert model.objective == "masked" or theirs.generation_config.eos_token_id == 3
    for dtype, options in (("float32", {}), ("float32", {"max_shard_size": "8KB"}), ("bfloat16", {})):
        folder = tmp_path / f"{dtype}{len(options)}"
        open_there(transformers, tmp_path / "ours", dtype=dtype).save_pretrained(folder, **options)
        assert (folder / "model.safetensors.index.json").exists() == bool(options)
        ours, theirs = from_pretrained(folder), open_there(transformers, folder)
        assert same_state(ours, model) == (dtype == "float32")
        np.testing.assert_allclose(logits(ours), theirs_logits(theirs, ours), rtol=1e-4, atol=1e-4)
        for setting, value in vars(model.config).items():
            if setting == "context" or "dropout" in setting:
                assert getattr(ours.config, setting) == value


def given_there(reading, model):
    """Return a `Reading` as the arguments of a model of transformers."""
    import torch

    given = {"input_ids": reading.tokens}
    if model.objective != "causal":
        given["attention_mask"] = np.arange(reading.tokens.shape[1]) < reading.lengths[:, None]
    if reading.written is not None:
        given["decoder_input_ids"] = reading.written
    if "segments" in reading.more:
        given["token_type_ids"] = reading.more["segments"]
    if "pictures" in reading.more:
        patches = ops.patches(reading.more["pictures"], model.config.patch)
        given["pixel_values"] = patches / np.float32(127.5) - 1
    return {key: torch.from_numpy(np.array(x)) for key, x in given.items()}


@each
def test_transformers_has_the_same_states_logits_loss_and_gradients(tmp_path, transformers, name):
    """The last hidden state of transformers is that after the final norm, as in `hidden`."""
    still = {"dropout": 0.0} if "dropout" in MODELS[name] else {}
    ours, found = made(name, **still), []
    ours.save_pretrained(tmp_path)
    theirs, reading = open_there(transformers, tmp_path).eval(), tiny_models.reads(ours)
    block = re.compile(r"(h|(model|language_model|encoder)\.layers|(en|de)coder\.block)\.\d+")
    with contextlib.ExitStack() as stack:
        for path in [path for path, _ in ours.named_modules() if block.fullmatch(path)]:
            stack.enter_context(nn.tap(ours, path, lambda x, y: found.append(y.data)))
        stack.enter_context(nn.tap(ours, "lm_head", lambda x, y: found.append(x.data)))
        logits, (out, real) = reading.logits(ours), reading.out
    given = given_there(reading, ours)
    there = theirs(**given, output_hidden_states=True)
    np.testing.assert_allclose(logits[real], there.logits.detach().numpy()[real], rtol=1e-4, atol=1e-4)
    found[-2:] = [found[-1] / (ours.config.width**-0.5 if getattr(ours.config, "scaled", False) else 1)]
    states = [there.hidden_states] if not ours.is_encoder_decoder else [
        there.decoder_hidden_states, there.encoder_hidden_states[:-1]]  # its last is after the final norm
    for theirs_states, valid in zip(states, (real, given.get("attention_mask")), strict=False):
        mine = found[-len(theirs_states) + 1 :] if valid is real else found
        for ours_state, state in zip(mine, theirs_states[1:], strict=valid is real):
            difference = np.abs(ours_state - state.detach().numpy())[np.asarray(valid, bool)]
            assert difference.max(initial=0) < 1e-3
    torch, targets = pytest.importorskip("torch"), np.where(real & (out % 3 > 0), np.roll(out, -1, 1), -100)
    if given.pop("decoder_input_ids", None) is not None:
        expected = theirs(**given, labels=torch.tensor(targets)).loss
    else:
        logits, labels = there.logits.flatten(0, 1), torch.tensor(targets).flatten()
        expected = torch.nn.functional.cross_entropy(logits, labels)
    loss = reading.of(ours.loss, targets)
    assert abs(loss.item() - expected.item()) < 1e-4
    check_gradients(ours, loss, theirs, expected)


def check_gradients(ours, loss, theirs, expected):
    """Compare the gradients of two losses, for parameters that have the same name in both libraries."""
    loss.backward()
    expected.backward()
    grads = {n: p.grad.numpy() for n, p in theirs.named_parameters() if p.grad is not None}
    linear = {f"{n}.weight" for n, m in ours.named_modules() if isinstance(m, (nn.Linear, nn.Matrix))}
    compared = 0
    for name, p in ours.named_parameters():
        grad = grads.get(ours.module_name(name), grads.get(ours.layout.file_name(name)))
        if grad is not None and p.grad is not None and grad.size == p.data.size:
            grad = grad.T if name in linear and ours.layout.transposed else grad
            assert np.abs(p.grad - grad).max() <= 1e-3 * max(np.abs(grad).max(), 0.1), name
            compared += 1
    assert compared > 0.6 * len(grads)


ROTARY = [name for name in names()
          if any(f.name == "scaling" for f in dataclasses.fields(family(name).config_class))]
KINDS = tiny_models.SCALINGS | {
    "dynamic": {}, "yarn backwards": tiny_models.SCALINGS["yarn"] | {"beta_fast": 1, "beta_slow": 9}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROTARY)
def test_every_scaling_is_that_of_transformers_in_every_rotary_family(tmp_path, transformers, name, kind):
    model = made(name, scaling={"rope_type": kind.split()[0], "factor": 4.0, **KINDS[kind]})
    model.save_pretrained(tmp_path)
    theirs = theirs_logits(open_there(transformers, tmp_path), model)
    np.testing.assert_allclose(logits(model), theirs, rtol=1e-4, atol=1e-4)
    assert kind == "dynamic" or not np.allclose(logits(model), logits(made(name)), atol=1e-2)
