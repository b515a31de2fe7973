"""Check the loop and its runs: recorded bits, what is logged and kept, and what a run may change.

test_recipes.py checks that a run can be interrupted anywhere.
"""

import dataclasses
import hashlib
import itertools
import math
import shutil

import numpy as np
import pytest
from helpers import Threads, refuses, together
from hypothesis import given, strategies as st
from tiny_gpt import CONTEXT, tiny
from tiny_run import new_training, outcome, resumed_training, same

import tinyllm as tl
from tinyllm import Random, UserError, nn, ops
from tinyllm.data import Batch, eval_windows, load_corpus, rows, token_array
from tinyllm.runs import Run, open_model, reopen
from tinyllm.runs.checkpoint import list_checkpoints
from tinyllm.runs.log import read_log
from tinyllm.train import ALONE, AdamW, events, next_token, train
from tinyllm.train.evaluate import count_characters, perplexity
from tinyllm.train.loop import forward_backward

# What the loop computes with these kernels: the SHA-256 of the weights, train_loss, val_loss and grad_norm.
RECORDED = {
    "dropout": ({}, "9249acaf8b0b", 2.460172176361084, 2.452218770980835, 0.9965846165921936),
    "accumulate": ({"train__accumulate": 2}, "0a3f78aa342d", 2.461599667867025, 2.4533190727233887,
                   0.9812207761255632),
    "bpe": ({"tokenizer": "bpe:280", "model__context": 32, "model__layers": 2, "model__heads": 4,
             "model__width": 64, "train__steps": 20, "model__dropout": 0.0}, "223d764ce1df",
            3.9363934993743896, 3.913027048110962, 2.6529594127293894),
}


@pytest.mark.skipif(ops.matmul.compiled is None, reason="without kernels other bits come out")
@pytest.mark.parametrize("name", RECORDED)
def test_the_default_model_trains_to_the_recorded_bits(tmp_path, text, name):
    settings, sha256, *losses, norm = RECORDED[name]
    training = new_training(tmp_path / "run", text, **settings)
    list(training)
    digest = hashlib.sha256()
    for part, array in sorted(training.model.state_dict().items()):
        digest.update(part.encode() + array.tobytes())
    last = records(tmp_path / "run")[-1]
    assert (digest.hexdigest()[:12], last["grad_norm"]) == (sha256, norm)
    assert [last["train_loss"], last["val_loss"]] == pytest.approx(losses, rel=1e-6)  # the sum's last bit


def records(folder):
    return [r for r in read_log(f"{folder}/log.jsonl") if r["kind"] == "step"]


def test_numbers_of_a_loss_that_the_log_cannot_hold(tmp_path, text):
    setup = new_training(tmp_path / "run", text, train__steps=2, train__checkpoint_every=1).setup
    setup.plan.loss = lambda model, batch: (next_token(model, batch), {"ratio": float("nan")})
    setup.plan.evaluate = lambda model: {"val_loss": 1.0, "accuracy": float("nan")}
    list(setup.train(tl.Run(tmp_path / "run")))
    last = records(tmp_path / "run")[-1]
    assert last["ratio"] is None and last["accuracy"] is None
    setup.plan.loss = lambda model, batch: (next_token(model, batch), {"lr": 1.0})
    refuses("'lr' already", list, setup.steps(), error=ValueError)


IDS = st.integers(1, 9)
PAIR = st.tuples(st.lists(IDS, min_size=1, max_size=6), st.lists(IDS, max_size=6))


@given(st.lists(PAIR, min_size=1, max_size=5), st.integers(2, 12), st.booleans())
def test_rows_count_the_answers_alone(pairs, context, packed):
    batch = rows(*zip(*pairs, strict=True), context, packed=packed)
    assert batch.tokens.shape == batch.targets.shape and batch.tokens.shape[1] <= context
    counted = batch.targets != -100
    assert np.array_equal(batch.targets[:, :-1][counted[:, :-1]], batch.tokens[:, 1:][counted[:, :-1]])
    answers = [answer[: max(0, context + 1 - len(prompt))] for prompt, answer in pairs]
    assert batch.targets[counted].tolist() == [token for answer in answers for token in answer]
    assert len(batch.tokens) <= len(pairs) if packed else len(batch.tokens) == len(pairs)


def test_packed_pairs_do_not_see_each_other():
    model, batch = tiny(), rows([[1, 2], [5]], [[3, 4], [6, 7, 8]], CONTEXT, packed=True)
    assert batch.starts.tolist() == [[0, 0, 0, 0, 4, 4, 4]]
    first = np.arange(7) < 4
    second = dataclasses.replace(batch, targets=np.where(first, -100, batch.targets))
    other = dataclasses.replace(second, tokens=np.where(first, 9, batch.tokens))
    assert next_token(model, other).item() == next_token(model, second).item()


def test_what_changes_a_run_and_what_does_not(tmp_path, text, whole):
    """A seed and dropout change the weights (or comparing bits would prove nothing); evaluation does not."""
    often = {"train__eval_every": 1, "train__sample_every": 1}
    for changed in ({"seed": 1}, {"model__dropout": 0.0}, often):
        list(training := new_training(tmp_path / "run", text, **changed))
        assert same(open_model(whole, "last").model, training.model) == (changed == often)
    began = [event.loss for event in new_training(tmp_path / "b", text) if isinstance(event, events.Stepped)]
    setup = resumed_training(shutil.copytree(whole, tmp_path / "whole")).setup
    assert [event.loss for event in setup.steps()] == began  # the losses of a new model


def test_the_log_tells_everything_and_training_helps(whole, text):
    about, *records = read_log(whole / "log.jsonl")
    assert (about["kind"], about["bytes"]) == ("data", len(text.read_bytes())) and len(about["sha256"]) == 64
    steps = [r for r in records if r["kind"] == "step"]
    first, last = steps[0], steps[-1]
    for name in ("train_loss", "val_loss", "tokens_per_second", "seconds", "lr", "grad_norm"):
        assert math.isfinite(last[name]) and last[name] > 0, name
    assert [r["step"] for r in steps] == [0, 3, 4, 6, 8, 9, 12]
    assert [r["step"] for r in records if r["kind"] == "sample"] == [0, 6, 12]
    assert [r["step"] for r in steps if r["val_loss"] is not None] == [0, 4, 8, 12]
    facts = Run(whole).read().facts
    assert first["val_loss"] == pytest.approx(math.log(facts.vocab_size), rel=0.05)  # uniform predictions
    assert [perplexity(nats) for nats in (2, 1000)] == ["7.389", "inf"]
    assert last["val_loss"] < first["val_loss"] - 0.01
    assert first["val_loss_per_char"] == first["val_loss"]  # a char tokenizer: one token, one character


def test_best_and_last_are_kept(tmp_path, text):
    """A huge learning rate makes the loss rise after the warm-up, so best and last differ."""
    absurd = {"train__lr": 3.0, "train__warmup": 8, "train__min_lr_ratio": 1}
    training, best = new_training(tmp_path / "run", text, **absurd), (0, {})
    for event in training:
        if isinstance(event, events.Evaluated) and event.best:
            best = event.step, {name: a.copy() for name, a in training.model.state_dict().items()}
    assert list(list_checkpoints(training.run.checkpoints)) == [best[0], 12] and best[0] < 12
    for which, weights in (("best", best[1]), ("last", training.model.state_dict())):
        found = open_model(tmp_path / "run", which).model.state_dict()
        assert all(np.array_equal(a, weights[name]) for name, a in found.items())


def test_more_steps_go_on_and_fewer_or_other_data_are_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    wrong = (({"train__steps": 10}, "12 steps already"), ({"data": __file__}, "data has changed"))
    for changed, message in wrong:
        refuses(message, resumed_training, tmp_path / "run", **changed)
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
    list(resumed_training(tmp_path / "run"))  # training resumes from it


def test_steps_with_products_in_bf16_differ_a_little_and_everything_else_is_float32(tmp_path, text):
    training = new_training(tmp_path / "run", text, train__precision="bf16")
    for _ in training:
        assert ops.matmul.choice is None
        if training.loop.progress.step == 7:
            break  # killed
    list(resumed_training(tmp_path / "run"))
    list(new_training(tmp_path / "whole", text, train__precision="bf16"))
    list(new_training(tmp_path / "exact", text))
    files = [outcome(tmp_path / name) for name in ("run", "whole", "exact")]
    assert files[0] == files[1] != files[2]
    ends = [log[-1]["val_loss"] for _, log in files[1:]]
    assert 0 < abs(ends[0] - ends[1]) < 1e-3


@pytest.mark.parametrize("spec", ["byte", "bpe:300"])
def test_nats_per_character_are_those_of_the_same_text(tmp_path, spec):
    """Tokens and characters are counted in the same windows, also if a character has several bytes."""
    path = tmp_path / "text.txt"
    path.write_text("Käse für Ödön, größer als Ähren. " * 300)
    training = new_training(tmp_path / "run", path, tokenizer=spec)
    measured, tokenizer = training.setup.plan.evaluate(training.model), training.setup.tokenizer
    tokens = token_array(load_corpus(str(path)).split()[1], tokenizer)
    ids = eval_windows(tokens, 8, 6)[1].ravel()
    characters = sum(byte & 0xC0 != 0x80 for byte in tokenizer.decode_bytes(ids))
    assert measured["val_loss_per_char"] == pytest.approx(measured["val_loss"] * len(ids) / characters)
    counts = count_characters(tokenizer)
    assert sum(counts[token] for token in tokenizer.encode("Käse für Ödön")) == len("Käse für Ödön")


# Several processes, simulated by threads, give the bits of one. test_recipes.py tries every kind of run.

PIECES = 12


def test_one_process_stops_all_and_another_number_goes_on(tmp_path, text):
    pieces = {"train__batch": PIECES, "train__accumulate": PIECES, "train__clip": 0.5}
    list(new_training(tmp_path / "whole", text, **pieces))
    run = new_training(tmp_path / "changing", text, **pieces).run
    for size, stops in ((2, 3), (1, 3), (4, 3), (1, 99)):

        def work(group, stops=stops):
            setup = reopen(run, run.read().config)
            setup.group = group
            asked = itertools.chain([False] * stops, [group.rank == group.size - 1])
            return list(setup.train(run, resume=True, stop=asked.__next__))[-1]

        ends = together(size, work)
        assert stops == 99 or ends == [events.Stopped(ends[0].step)] * size
    assert outcome(tmp_path / "changing") == outcome(tmp_path / "whole")


class Partly(nn.Module):
    """A model with a parameter that only some rows use, and one that nothing uses."""

    def __init__(self):
        self.table, self.rare, self.unused = (nn.Embedding(11, 11) for _ in range(3))
        self.drop = nn.Dropout(0.3)

    def forward(self, tokens):
        x = self.table(tokens)
        return self.drop(x + self.rare(tokens) if (tokens == 3).any() else x)


def a_batch(rows, seed):
    """Return a batch in which about half of the targets are ignored."""
    x, y = Random(seed).integers(11, (2, rows, 4)).astype(np.int32)
    y[Random(seed, "hidden").uniform(y.shape) < 0.5] = -100
    y[0, 0] = 1
    return Batch(x, y)


@given(st.sampled_from([2, 3, 4]), st.integers(1, 17), st.integers(0, 99))
def test_uneven_pieces_have_the_gradients_of_one_process(size, rows, seed):
    """Some processes have no piece; some parameters get a gradient in few pieces, or in none."""

    def loss(model, batch):
        return next_token(model, batch), {"read": batch.tokens.sum()}

    def gradients(group):
        model = Partly()
        model.rare.weight.grad = np.full((11, 11), -0.0, np.float32)  # adding 0 would change it
        found = forward_backward(model, a_batch(rows, seed), loss, PIECES, group, (seed, 7))
        return found, [p.grad is not None and p.grad.tobytes() for p in model.parameters()]

    expected = gradients(ALONE)
    assert expected[1][2] is False and together(size, gradients) == [expected] * size


def test_a_group_that_has_more_processes_than_pieces_is_refused():
    model = Partly()
    refuses(r"12 pieces.*none for some of 13 processes: start at most 12", train, model, None, next_token,
            AdamW(model.parameters()), steps=3, accumulate=PIECES, group=Threads(0, [()] * 13))
