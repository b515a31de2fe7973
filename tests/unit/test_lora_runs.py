"""Check runs that train an adapter: small checkpoints, the same bits when resumed, and merging."""

import itertools
import os
import shutil

import numpy as np
import pytest
from helpers import refuses
from tiny_run import begun, new_training, outcome, resumed_training, same

import tinyllm as tl
from tinyllm import nn
from tinyllm.runs.setup import reopen

LORA = {"lora.rank": 2, "lora.alpha": 8.0, "lora.where": "c_attn,mlp.c_proj", "train.lr": 0.02}
GREEDY = {"max_tokens": 8, "sampling": tl.Sampling(temperature=0)}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, whole, text):
    folder = tmp_path_factory.mktemp("tuned") / "run"
    run, setup = begun(folder, whole, text, **LORA)
    list(setup.train(run))
    return folder


def test_a_run_trains_and_saves_an_adapter_alone(tuned):
    assert [*nn.adapters(tl.open_model(tuned).model)] == ["h.0.attn.c_attn", "h.0.mlp.c_proj"]
    assert {*os.listdir(tl.Run(tuned).last_checkpoint())} == {
        "adapter_config.json", "adapter_model.safetensors", "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "optimizer.safetensors", "state.json",
    }


def test_an_adapter_of_a_quantised_run_resumes_with_the_same_bits_and_is_never_merged(
        tmp_path, whole, text, printed, refused):
    base, others = tmp_path / "packed", ("--out", tmp_path / "other")
    printed("compress", whole, "--bits", 8, "--out", base)
    with pytest.raises(tl.UserError, match="quantised weights, which cannot be trained: train an adapter"):
        begun(tmp_path / "all", base, text)
    run, setup = begun(tmp_path / "run", base, text, **LORA)
    list(setup.train(run))
    opened = tl.open_model(run.folder).model
    assert isinstance(next(iter(nn.adapters(opened).values())).base_layer, tl.Int8Linear)
    assert np.array_equal(opened([[1, 2, 3]]).data, setup.model.eval()([[1, 2, 3]]).data)
    for kill in (3, 8):  # before the first checkpoint, and after it
        again, setup = begun(tmp_path / str(kill), base, text, **LORA)
        list(itertools.islice(setup.train(again), kill))
        list(resumed_training(again.folder))
        assert outcome(again.folder) == outcome(run.folder)
    for command in ("merge", "export"):
        assert "cannot take in an adapter" in refused(command, run.folder, *others)
    assert "quantised already" in refused("compress", run.folder, "--bits", 8, *others)
    assert "is an adapter of lora.rank=2" in refused("train", *others, "--set", f"start={run.folder}")
    second, setup = begun(tmp_path / "second", run.folder, text, **LORA)  # trains the same adapter on
    list(itertools.islice(setup.train(second), 8))
    list(again := resumed_training(second.folder))
    assert same(again.setup.reference(), opened) and not same(again.model, opened)
    assert not os.path.lexists(tmp_path / "other")


@pytest.mark.parametrize("kind", ["whole", "tuned"])
def test_resuming_reads_a_checkpoint_into_the_model_that_is_there(tmp_path, request, kind):
    run = tl.Run(shutil.copytree(request.getfixturevalue(kind), tmp_path / "run"))
    setup = reopen(run, run.read().config)
    truth = {name: array.copy() for name, array in setup.model.state_dict().items()}
    for p in setup.model.parameters(trainable=True):
        p.data = np.zeros_like(p.data)
    setup.train(run, resume=True)
    assert all(np.array_equal(array, truth[name]) for name, array in setup.model.state_dict().items())


def test_a_base_that_changes_while_its_adapter_is_trained_is_noticed(tmp_path, whole, text):
    base = shutil.copytree(whole, tmp_path / "base")
    run, setup = begun(tmp_path / "run", base, text, **LORA)
    file = tl.Run(base).find_checkpoint() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    list(setup.train(run))
    refuses("SHA-256", tl.open_model, run.folder)


def test_a_merged_run_answers_like_its_adapter_and_begins_others(tmp_path, tuned, text, printed, refused):
    printed("merge", tuned, "--out", tmp_path / "merged")
    for bits in (None, 8):
        ours, merged = (tl.open_model(place, bits=bits).model for place in (tuned, tmp_path / "merged"))
        assert tl.generate(ours, [[1, 2, 3]], **GREEDY) == tl.generate(merged, [[1, 2, 3]], **GREEDY)
    assert not nn.adapters(merged) and tl.Run(tmp_path / "merged").read().config.lora.rank == 0
    assert "trained any further" in refused("train", "--out", tmp_path / "merged", "--resume")
    assert "has no adapter" in refused("merge", tmp_path / "merged", "--out", tmp_path / "again")
    with pytest.raises(tl.UserError, match=r"of lora.rank=2 with lora.alpha=8: give the same to train it on"):
        begun(tmp_path / "next", tuned, text, **LORA | {"lora.alpha": 9.0})
    for where in ("c_attn", "c_attn,c_proj"):  # once ignored
        with pytest.raises(tl.UserError, match=f"of other layers than lora.where={where}: leave"):
            begun(tmp_path / "next", tuned, text, **LORA | {"lora.where": where})
    assert nn.adapters(begun(tmp_path / "on", tuned, text, **LORA | {"lora.where": None})[1].model)
    assert same(begun(tmp_path / "next", tuned, text, **LORA)[1].reference(), tl.open_model(tuned).model)
    run, setup = begun(tmp_path / "next", tuned, text)  # trains all weights of the merged model
    list(itertools.islice(setup.train(run), 5))
    assert not nn.adapters(setup.model) and all(p.requires_grad for p in setup.model.parameters())


def test_a_new_output_layer_is_trained_with_the_adapter_and_peft_opens_both(tmp_path, text):
    (tmp_path / "classes.tsv").write_text("the cat\tyes\na mat.\tno\n" * 30)
    sizes = {"model__type": "bert", "model__context": 12, "model__hidden": 16}
    list(new_training(base := tmp_path / "base", text, **sizes, train__steps=2))
    more = {"recipe": "classify", "train.steps": 6, "train.checkpoint_every": 3, "lora.rank": 2}
    run, setup = begun(tmp_path / "run", base, tmp_path / "classes.tsv", **more)
    list(setup.train(run))
    model = tl.open_model(run.folder, "last").model
    whole = {name for name in nn.adapter_state(model) if ".lora_" not in name}
    assert whole == {f"{name}.{kind}" for name in ("pooler", "classifier") for kind in ("weight", "bias")}
    tokens = np.array([[1, 2, 3, 4]])
    assert np.array_equal(model.classify(tokens).data, setup.model.eval().classify(tokens).data)
    for kill in (3, 8):  # before the first checkpoint, and after it
        again, setup = begun(tmp_path / str(kill), base, tmp_path / "classes.tsv", **more)
        list(itertools.islice(setup.train(again), kill))
        list(resumed_training(again.folder))
        assert outcome(again.folder) == outcome(run.folder)
    peft, torch, transformers = (pytest.importorskip(lib) for lib in ("peft", "torch", "transformers"))
    base = transformers.BertForSequenceClassification.from_pretrained(model.origin.folder)
    theirs = peft.PeftModel.from_pretrained(base, run.last_checkpoint()).eval()
    with torch.no_grad():
        logits = theirs(input_ids=torch.tensor(tokens)).logits.numpy()
    np.testing.assert_allclose(logits, model.classify(tokens).data, atol=1e-5)
