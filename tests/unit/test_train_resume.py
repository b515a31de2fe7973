"""The training: interrupted anywhere, it ends with the same bits; and what else a run promises."""

import itertools
import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import new_training, outcome, resumed_training, write_text

from tinyllm import ops
from tinyllm.data import Batch, eval_batches, load_corpus, token_array
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs import Run, open_model
from tinyllm.runs.checkpoint import list_checkpoints
from tinyllm.runs.log import read_log
from tinyllm.train import events, next_token
from tinyllm.train.evaluate import count_characters
from tinyllm.train.loop import forward_backward


def killed(training, count):
    """Take `count` events, then drop everything as a kill would: nothing more is written."""
    list(itertools.islice(training, count))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4))
@settings(max_examples=12)
def test_killed_between_any_two_events_it_ends_with_the_same_bits(tmp_path_factory, text, whole, kills):
    folder = tmp_path_factory.mktemp("killed") / "run"
    training = new_training(folder, text)
    for kill in kills:
        killed(training, kill)
        training = resumed_training(folder)
    list(training)
    assert outcome(folder) == outcome(whole)


@given(st.integers(1, 11))
@settings(max_examples=6)
def test_stopped_politely_it_ends_with_the_same_bits(tmp_path_factory, text, whole, step):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    training = new_training(folder, text)
    for event in training:
        training.stopping = (isinstance(event, events.Stepped) and event.step == step) or training.stopping
    assert event == events.Stopped(step) and max(list_checkpoints(Run(folder).checkpoints)) == step
    list(resumed_training(folder))
    assert outcome(folder) == outcome(whole)


def test_steps_of_a_run_that_is_opened_again_begin_at_its_start(tmp_path, text, whole):
    training = new_training(tmp_path / "run", text)
    began = [event.loss for event in training if isinstance(event, events.Stepped)]
    setup = resumed_training(shutil.copytree(whole, tmp_path / "whole")).setup
    assert [event.loss for event in setup.steps()] == began


def test_a_torn_last_line_is_cut_away(tmp_path, text, whole):
    killed(new_training(tmp_path / "run", text), 20)
    with open(tmp_path / "run" / "log.jsonl", "ab") as f:
        f.write(b'{"kind": "step", "st')
    list(resumed_training(tmp_path / "run"))
    assert outcome(tmp_path / "run") == outcome(whole)


def test_evaluating_and_sampling_disturb_nothing(tmp_path, text, whole):
    often = new_training(tmp_path / "run", text, train__eval_every=1, train__sample_every=1)
    list(often)
    for name, array in open_model(whole, "last").model.state_dict().items():
        assert np.array_equal(array, often.model.state_dict()[name]), name


def test_the_seed_and_dropout_matter(tmp_path, text, whole):
    """The comparisons above would say nothing if every run gave the same weights."""
    for name, changed in {"seed": {"seed": 1}, "dropout": {"model__dropout": 0.0}}.items():
        list(new_training(tmp_path / name, text, **changed))
        assert outcome(tmp_path / name)[0] != outcome(whole)[0]


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 99))
@settings(max_examples=8)
def test_accumulation_is_the_whole_batch_to_rounding(tmp_path_factory, text, parts, seed):
    folder = tmp_path_factory.mktemp("accumulate")
    quiet = {"seed": seed, "model__dropout": 0.0, "train__batch": 8}
    models = [new_training(folder / name, text, **quiet).model for name in ("whole", "split")]
    x = Random(seed, "x").integers(5, (8, 8)).astype(np.int32)
    y = Random(seed, "y").integers(5, (8, 8)).astype(np.int32)
    y[Random(seed, "hidden").uniform(y.shape) < 0.5] = -100  # so that the parts do not count alike
    y[:2] = -100
    losses = [forward_backward(model, Batch(x, y), next_token, n)[0]
              for model, n in zip(models, (1, parts), strict=True)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6)


def test_the_log_tells_everything_and_training_helps(whole, text):
    about, *records = read_log(whole / "log.jsonl")
    assert (about["kind"], about["bytes"]) == ("data", len(text.read_bytes())) and len(about["sha256"]) == 64
    steps = [r for r in records if r["kind"] == "step"]
    first, last = steps[0], steps[-1]
    for name in ("train_loss", "val_loss", "tokens_per_second", "seconds", "peak_rss_mb", "lr", "grad_norm"):
        assert math.isfinite(last[name]) and last[name] > 0, name
    assert [r["step"] for r in steps] == [0, 3, 4, 6, 8, 9, 12]
    assert [r["step"] for r in records if r["kind"] == "sample"] == [0, 6, 12]
    assert [r["step"] for r in steps if r["val_loss"] is not None] == [0, 4, 8, 12]
    facts = Run(whole).read().facts
    assert first["val_loss"] == pytest.approx(math.log(facts.vocab_size), rel=0.05)  # it knows nothing yet
    assert last["val_loss"] < first["val_loss"] - 0.01
    assert first["val_loss_per_char"] == first["val_loss"]  # a char tokenizer: one token, one character


def test_best_and_last_are_kept(tmp_path, text):
    """With an absurd learning rate after the warm-up the loss rises, so best and last differ."""
    absurd = {"train__lr": 3.0, "train__warmup": 8, "train__schedule": "constant"}
    training, best = new_training(tmp_path / "run", text, **absurd), (0, {})
    for event in training:
        if isinstance(event, events.Evaluated) and event.best:
            best = event.step, {name: a.copy() for name, a in training.model.state_dict().items()}
    assert list(list_checkpoints(training.run.checkpoints)) == [best[0], 12] and best[0] < 12
    for which, weights in (("best", best[1]), ("last", training.model.state_dict())):
        found = open_model(tmp_path / "run", which).model.state_dict()
        assert all(np.array_equal(a, weights[name]) for name, a in found.items())


def test_more_steps_go_on_and_fewer_are_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(UserError, match="12 steps already"):
        resumed_training(tmp_path / "run", train__steps=10)
    assert [type(e) for e in resumed_training(tmp_path / "run")] == [events.Started]
    longer = resumed_training(tmp_path / "run", train__steps=15)
    assert [e.step for e in longer if isinstance(e, events.Stepped)] == [13, 14, 15]
    assert Run(tmp_path / "run").read().config.train.steps == 15
    assert read_log(tmp_path / "run" / "log.jsonl")[-1]["step"] == 15


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_a_number_that_is_not_finite_stops_the_run(tmp_path, text, what):
    training = new_training(tmp_path / "run", text)
    calls = iter(range(1, 100))

    def loss(logits, targets, ignore_index=-100):
        value, lse = ops.cross_entropy.reference(logits, targets, ignore_index)
        return (value + math.nan if training.model.training and next(calls) == 7 else value), lse

    def norm(grads):
        return math.inf if next(calls) == 7 else ops.grad_norm.reference(grads)

    plugged = {"cross_entropy": loss} if what == "loss" else {"grad_norm": norm}
    with ops.override(**plugged), pytest.raises(UserError, match=f"{what} is .* at step 7.*step-00000005"):
        list(training)
    assert list(list_checkpoints(training.run.checkpoints))[-1] == 5
    list(resumed_training(tmp_path / "run"))  # the checkpoint is good


def test_changed_data_is_refused(tmp_path):
    text = write_text(tmp_path / "text.txt")
    list(new_training(tmp_path / "run", text, train__steps=2))
    text.write_text(text.read_text() + "more")
    with pytest.raises(UserError, match="data has changed"):
        resumed_training(tmp_path / "run")


@pytest.mark.parametrize("spec", ["byte", "bpe:300"])
def test_nats_per_character_are_those_of_the_same_text(tmp_path, spec):
    """Tokens and characters are counted over the same windows, multi-byte characters included."""
    path = tmp_path / "text.txt"
    path.write_text("Käse für Ödön, größer als Ähren. " * 300)
    training = new_training(tmp_path / "run", path, tokenizer=spec)
    measured, tokenizer = training.setup.plan.evaluate(training.model), training.setup.tokenizer
    tokens = token_array(load_corpus(str(path)).split()[1], tokenizer)
    ids = np.concatenate([y.ravel() for _, y in eval_batches(tokens, 8, 4, 6)])
    characters = sum(byte & 0xC0 != 0x80 for byte in tokenizer.decode_bytes(ids))
    assert measured["val_loss_per_char"] == pytest.approx(measured["val_loss"] * len(ids) / characters)
    counts = count_characters(tokenizer)
    assert sum(counts[token] for token in tokenizer.encode("Käse für Ödön")) == len("Käse für Ödön")
