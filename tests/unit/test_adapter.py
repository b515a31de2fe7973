"""Check saved adapters: tinyllm and peft open them on the same base; broken ones are refused."""

import os
import shutil

import numpy as np
import pytest
import safetensors.numpy
from helpers import refuses
from tiny_models import change, each_stored, inputs, logits, made, open_there, rewrite, theirs_logits

import tinyllm as tl
from tinyllm import nn
from tinyllm.models import from_pretrained, names
from tinyllm.models.gguf import save_gguf


def learnt(model, **settings):
    """Give a model adapters with random weights that change its output, as if they had been trained."""
    nn.adapt(model, **{"rank": 3, "alpha": 5.0} | settings)
    for name, p in model.named_parameters():
        if ".lora_B" in name:
            p.data = np.random.default_rng(len(name)).normal(size=p.shape).astype(np.float32) / 8
    return model


def saved(name, tmp_path, **settings):
    """Save a model and an adapter of it; return the adapted model."""
    made(name).save_pretrained(tmp_path / "base")
    model = learnt(from_pretrained(tmp_path / "base"), **settings)
    model.save_pretrained(tmp_path / "adapter")
    return model


def test_an_end_of_a_name_chooses_layers():
    where = ["1.mlp.c_proj", "c_attn"]
    chosen = nn.adapters(nn.adapt(made("gpt2"), where=where))
    assert [*chosen] == ["h.0.attn.c_attn", "h.1.attn.c_attn", "h.1.mlp.c_proj"]
    for wrong in ("proj", "", "c_proj "):
        with pytest.raises(tl.UserError, match=f"ends in '{wrong}'; there are c_attn, c_proj, c_fc"):
            nn.adapt(made("gpt2"), where=["c_attn", wrong])


def test_a_state_is_loaded_and_what_adapters_forbid_is_refused(tmp_path):
    model, other = learnt(made("gpt2")), nn.adapt(made("gpt2"), rank=3, alpha=5.0, seed=9)
    state = nn.adapter_state(model)
    nn.load_adapter(other, state)
    assert logits(other).tobytes() == logits(model.eval()).tobytes()
    packed = nn.quantize(made("gpt2"), 8)
    for refused, message in [
        (lambda: nn.load_adapter(other, {n: a[:1] for n, a in state.items()}), "lora_A.weight has shape"),
        (lambda: nn.quantize(model, 8), "merge"), (lambda: save_gguf(model, tmp_path / "m", {}), "merge"),
        (lambda: nn.adapt(model), "merge"), (lambda: nn.adapt(made("gpt2"), rank=0), "at least 1, got 0"),
        (lambda: nn.merge(nn.adapt(packed)), "quantised weights, which cannot take in an adapter"),
    ]:
        refuses(message, refused)


@each_stored
def test_adapters_of_any_weights_learn_alone_come_back_and_merge(tmp_path, name, bits):
    """A new adapter changes no bit; its step uphill raises the sum; all other weights stay as they are."""
    made(name).save_pretrained(tmp_path / "float")
    from_pretrained(tmp_path / "float", bits=bits).save_pretrained(tmp_path / "base")
    model = from_pretrained(tmp_path / "base")
    plain, weights = logits(model), {key: a.copy() for key, a in model.state_dict().items()}
    nn.adapt(model, rank=2)
    assert logits(model).tobytes() == plain.tobytes()
    assert [*nn.adapters(model)] == [*nn.adapters(nn.adapt(made(name), rank=2))]
    assert {n for n, p in model.named_parameters() if p.requires_grad} == nn.adapter_state(model).keys()
    model(*inputs(model)).sum().backward()
    assert not any(tensor.grad is not None for key, tensor in model.named_tensors() if ".lora_" not in key)
    for layer in nn.adapters(model).values():
        if layer.lora_B.weight.grad is not None:  # a text without pictures needs no layer of patches
            layer.lora_B.weight.data = np.float32(0.02) * np.sign(layer.lora_B.weight.grad)
    assert logits(model).sum() > plain.sum()
    model.save_pretrained(tmp_path / "adapter")
    opened = from_pretrained(tmp_path / "adapter")
    assert logits(opened).tobytes() == logits(model).tobytes()
    assert all(np.array_equal(a, weights[key.replace(".base_layer", "")])
               for key, a in opened.state_dict().items() if ".lora_" not in key)
    opened.save_pretrained(tmp_path / "again")
    for file in os.listdir(tmp_path / "adapter"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "adapter" / file).read_bytes()
    if bits is None:
        nn.merge(opened).save_pretrained(tmp_path / "merged")
        merged, adapted = from_pretrained(tmp_path / "merged"), logits(model)
        np.testing.assert_allclose(logits(merged), adapted, rtol=1e-4, atol=1e-4 * np.abs(adapted).max())
        assert merged.state_dict().keys() == weights.keys()
        assert all(p.requires_grad for p in opened.parameters())


@pytest.mark.parametrize("name", names())
def test_peft_opens_our_adapters_and_we_open_theirs(tmp_path, name):
    peft, torch, transformers = (pytest.importorskip(lib) for lib in ("peft", "torch", "transformers"))
    experts = {"mixtral", "qwen3_moe", "deepseek_v3"}  # peft takes their MLP layers for fused experts
    targets = ["o_proj"] if name in experts else ()
    model = saved(name, tmp_path, where=targets)
    plain = open_there(transformers, tmp_path / "base")
    base = peft.PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    np.testing.assert_allclose(theirs_logits(base, model), logits(model), rtol=0, atol=1e-3)
    settings = peft.LoraConfig(r=4, lora_alpha=3, lora_dropout=0.1, target_modules=targets or "all-linear")
    theirs = peft.get_peft_model(base.unload(), settings).eval()
    for key, part in theirs.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(part, std=0.2)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs")
    np.testing.assert_allclose(theirs_logits(theirs, ours), logits(ours), rtol=0, atol=1e-3)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize("edit, message", [
    ({"peft_type": "IA3"}, "holds 'IA3' as peft_type, where one of LORA belongs"),
    *[({name: value}, name) for name, value in (
        ("bias", "all"), ("use_dora", True), ("rank_pattern", {"q_proj": 4}), ("new_trick", 3),
        ("modules_to_save", ["lm_head"]), ("init_lora_weights", "pissa"))],
    ({"r": 0}, "holds 0 as r"), ({"r": ...}, "lacks r"),
    ({"r": 2}, r"lora_A.weight has shape \(32, 3\) in the weights and \(32, 2\) in the model"),
    ({"r": 2**24}, r"shape \(32, 3\)"), ({"base_model_name_or_path": "/nowhere"}, "which is gone"),
    ({"base_model_name_or_path": "adapter"}, "is an adapter itself"),
    (lambda state: {n: a for n, a in state.items() if n != FIRST}, "the weights lack .*q_proj.lora_A"),
    (lambda state: state | {FIRST: state[FIRST].T}, r"has shape \(3, 32\) in the weights and \(32, 3\)"),
    (lambda state: state | {FIRST: state[FIRST] * np.inf}, "not finite"),
    (lambda state: state | {FIRST: state[FIRST].astype(np.int32)}, "must be floating-point"),
    (lambda state: state | {FIRST.replace("q_proj", "r_proj"): state[FIRST]}, "ends in .*r_proj'; there are"),
    (lambda state: state | {"base_model.model.model.norm.weight": state[FIRST][0]}, "is no adapter of a"),
    (lambda state: state | {FIRST.removeprefix("base_model.model."): state[FIRST]}, "begin with base_model"),
])
def test_settings_and_arrays_that_cannot_be_applied_are_named(tmp_path, monkeypatch, edit, message):
    saved("llama", tmp_path)
    monkeypatch.chdir(tmp_path)
    if isinstance(edit, dict):
        change(tmp_path / "adapter", "adapter_config.json", **edit)
    else:
        rewrite(tmp_path / "adapter", edit, "adapter_model.safetensors")
    assert "adapter" in refuses(message, from_pretrained, "adapter")


def test_an_adapter_opens_over_its_own_base_only(tmp_path):
    model = saved("gpt2", tmp_path)
    made("gpt2", width=16).save_pretrained(tmp_path / "base")  # a base that has changed
    refuses("is an adapter of weights with the SHA-256", from_pretrained, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path)  # without the SHA-256
    with pytest.raises(tl.UserError, match=r"shape \(32, 3\) in the weights and \(16, 3\) in the model"):
        from_pretrained(tmp_path / "adapter")
    refuses("holds an adapter already", lambda: nn.merge(model).save_pretrained(tmp_path / "adapter"))
    with pytest.raises(tl.UserError, match="holds a whole model already"):
        learnt(from_pretrained(tmp_path / "base")).save_pretrained(tmp_path / "base")
    trained = from_pretrained(tmp_path / "base")
    tl.fit(trained, np.arange(50) % 19, steps=1, batch=1, context=4)
    for elsewhere in (made("gpt2"), trained):
        with pytest.raises(tl.UserError, match="no folder has the weights under these adapters"):
            learnt(elsewhere).save_pretrained(tmp_path / "third")
    model = learnt(from_pretrained(tmp_path / "base"))
    shutil.rmtree(tmp_path / "base")
    refuses("there are no weights at", model.save_pretrained, tmp_path / "third")
    assert not (tmp_path / "third").exists()
