"""Check pruning on all families, copies of runs, and distillation; the laws of recipes are elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import refuses
from tiny_models import MODELS, TOKENS, made, open_there, theirs_logits
from tiny_run import begun, new_training

import tinyllm as tl
from tinyllm import nn
from tinyllm.compress.prune import prune
from tinyllm.runs.setup import reopen

BY_TEXTS = ("wanda:0.5", "wanda:2:4", "heads:2", "layers:1")
REFUSED = {("smollm3", "layers:1"): "differ by their place"} | {
    (name, "heads:2"): "share its width" for name in ("gpt2", "deepseek_v3", "falcon", "fuyu")} | {
    (name, "heads:2"): "a multiple of 4" for name in ("mistral", "llama of odd sizes")} | {
    (name, how): "needs a decoder" for name in MODELS if name[:2] in ("t5", "be") for how in BY_TEXTS}


@pytest.mark.parametrize("how", ["magnitude:0.5", "2:4", *BY_TEXTS])
@pytest.mark.parametrize("name", MODELS)
def test_every_family_is_pruned_and_opens_again_or_is_refused(tmp_path, name, how):
    model, before = made(name), made(name).state_dict()
    if (name, how) in REFUSED:
        refuses(REFUSED[name, how], prune, model, how, TOKENS)
        assert all(np.array_equal(a, before[key]) for key, a in model.state_dict().items())
        return
    assert prune(model, how, TOKENS) is model
    model.save_pretrained(tmp_path)
    again, linear = tl.from_pretrained(tmp_path), {f"{key}.weight" for key in model.of_kind(nn.Linear)}
    for key, a in model.state_dict().items():
        assert np.array_equal(a, again.state_dict()[key])
        if "s:" not in how and before[key].any():
            share = 0.5 * (key in linear)
            assert np.array_equal(a[a != 0], before[key][a != 0]) and abs((a == 0).mean() - share) < 0.1
    assert ("s:" in how) == (model.num_parameters() < made(name).num_parameters())


def test_magnitude_compares_a_matrix_and_wanda_each_output_by_its_inputs():
    w = made("llama").model.layers[0].self_attn.q_proj.weight.data
    stays = {}
    for how in ("magnitude:0.25", "wanda:0.5", "2:4", "wanda:1"):
        model = made("llama")
        model.model.layers[0].input_layernorm.weight.data[:16] = 0  # so half of what q reads is 0
        stays[how] = prune(model, how, TOKENS).model.layers[0].self_attn.q_proj.weight.data != 0
    assert np.array_equal(stays["magnitude:0.25"], np.abs(w) > np.quantile(np.abs(w), 0.25))
    assert not stays["wanda:0.5"][:16].any() and stays["wanda:0.5"][16:].all()
    assert (stays["2:4"].reshape(-1, 4, 32).sum(axis=1) == 2).all() and not stays["wanda:1"].any()


@pytest.mark.parametrize("name", ["llama", "llama tied", "qwen2", "qwen3", "mixtral"])
def test_heads_and_layers_that_add_nothing_go_and_transformers_opens_the_rest(tmp_path, name):
    model = made(name, layers=3)
    for attention in model.of_kind(nn.GroupedAttention).values():
        attention.o_proj.weight.data[: 2 * attention.head_width] = 0  # of the first two of four heads
    for key, layer in model.model.layers[1].of_kind(nn.Linear).items():
        layer.weight.data *= not key.endswith(("o_proj", "down_proj"))
    likely = [[i, *tl.generate(model, [[i]], max_tokens=11, sampling=tl.Sampling(0))[0]] for i in range(4)]
    before = model(TOKENS).data
    for how in ("layers:1", "heads:2"):
        after = prune(model, how, np.array(likely))(TOKENS).data
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert (model.config.layers, model.config.heads, len(model.new_cache())) == (2, 2, 2)
    prune(model, "2:4").save_pretrained(tmp_path)
    theirs = theirs_logits(open_there(pytest.importorskip("transformers"), tmp_path), model)
    np.testing.assert_allclose(theirs, model(TOKENS).data, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, text):
    folder, sizes = tmp_path_factory.mktemp("teacher"), {"model__hidden": 16, "model__layers": 2}
    list(new_training(folder, text, model__type="llama", model__kv_heads=2, model__dropout=..., **sizes))
    return folder


def test_a_pruned_run_writes_is_not_resumed_and_can_be_a_start(tmp_path, teacher, text, printed, refused):
    for how, said in (("wanda:0.5", "(1.00 of the size), "), ("heads:1", "of the size)\n"), ("layers:1", "")):
        assert said in printed("compress", teacher, "--prune", how, "--out", tmp_path / how)
        printed("generate", tmp_path / how, "--prompt", "the cat", "--tokens", 5)
        assert tl.Run(tmp_path / how).read().notes == {"pruned": how}
        assert "pruned in run.json" in refused("train", "--out", tmp_path / how, "--resume", "--steps", 99)
    assert len([*begun(tmp_path / "more", tmp_path / "heads:1", text, **{"train.steps": 2})[1].train()]) > 2
    printed("compress", teacher, "--bits", 8, "--out", tmp_path / "packed")
    for place, words, said in (
            (tmp_path / "packed", "--prune 2:4", "quantised already"), (teacher, "", "give one of"),
            (teacher, "--prune layers:2", "must stay"), (teacher, "--prune heads:2", "below 2"),
            (teacher, "--prune half", "give wanda:0.5"), (teacher, "--prune wanda:1.5", "from 0 to 1"),
            (teacher, "--prune heads:0", "give wanda:0.5"), (teacher, "--prune layers:0", "give wanda:0.5"),
            (teacher, "--prune 3:2", "N of M"), (teacher, "--bits 8 --prune 2:4", "give one of"),
            (teacher, "--distill nothing", "no preset 'nothing' of llama; there are laptop")):
        assert said in refused("compress", place, *words.split(), "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def distilling(teacher, corpus, **more):
    own = {f"distill.{k}": x for k, x in more.items() if k != "same"} | {"distill.teacher": str(teacher)}
    own |= {"start": str(teacher)} if "same" in more else {
        "tokenizer": str(teacher / "tokenizer.json"), "preset": "nano", "model.context": 8}
    return tl.prepare(tl.make_config(own | {"data": str(corpus), "recipe": "distill", "train.batch": 4}))


@pytest.mark.parametrize("more", [{"same": True}, {}, {"temperature": 2.0, "text": 0.3}])
def test_the_loss_is_the_divergence_at_a_temperature_and_the_text(teacher, text, more):
    setup, T, weight = distilling(teacher, text, **more), more.get("temperature", 1.0), more.get("text", 0.0)
    model, batch = setup.model.eval(), setup.plan.batches(0)
    logits, wanted = (x(batch.tokens).data.astype(float) for x in (model, tl.open_model(teacher).model))
    p, q = (np.exp(x / T) / np.exp(x / T).sum(axis=-1, keepdims=True) for x in (wanted, logits))
    kl = T * T * (p * np.log(p / q)).sum(axis=-1).mean()
    expected = (1 - weight) * kl + weight * model.loss(batch.tokens, batch.targets).item()
    assert setup.plan.loss(model, batch)[0].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert (kl < 1e-12) == ("same" in more)  # a model that is its own teacher has nothing to learn


def test_own_texts_begin_as_given_ones_and_are_no_truth(teacher, text):
    setup = distilling(teacher, text, own=1.0, text=1.0)
    given, own = distilling(teacher, text).plan.batches(0), setup.plan.batches(0)
    assert np.array_equal(own.tokens[:, :3], given.tokens[:, :3])
    assert not np.array_equal(own.tokens, given.tokens) and (own.targets[:, :2] == -100).all()
    assert setup.plan.loss(setup.model, own)[0].item() == setup.plan.loss(setup.model, own)[1]["kl"]


def test_a_preset_or_a_run_learns_from_the_same_teacher_only(tmp_path, teacher, printed, refused):
    for name, place, said in (("nano", "new", "larger than its teacher"), (teacher, "old", "er 1\n")):
        assert said in printed("compress", teacher, "--distill", name, "--out", tmp_path / place)
    run = tl.Run(tmp_path / "new")
    record = run.read()
    assert record.config.flat()["model.type"] == "llama" and record.config.train.steps == 12
    words = ("train", "distill", "--data", record.config.data, "--out", tmp_path / "x")
    named = ("--set", f"distill.teacher={teacher}")
    for more, said in (((), "needs a teacher"), (named, "other tokens"),
                       ((*named, "--tokenizer", teacher / "tokenizer.json"), "reads 8 tokens")):
        assert said in refused(*words, *more)
    run.write(replace(record, teacher=replace(record.teacher, sha256="0" * 64)))
    refuses("have changed since the run began", reopen, run, record.config)
