"""The loop for any model and objective: recorded bits, state, fit; and each recipe."""

import dataclasses
import hashlib
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import SETTINGS, new_training, outcome

import tinyllm as tl
import tinyllm.functional as F
from tinyllm.cli import main
from tinyllm.data import Batch, rows
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs.config import make_config
from tinyllm.runs.log import read_log
from tinyllm.runs.plan import Plan, doctor
from tinyllm.runs.recipe import RECIPES, find_recipe, recipe
from tinyllm.runs.recipes.pretrain import PretrainConfig
from tinyllm.runs.setup import prepare, reopen
from tinyllm.train import events, fit, next_token, train
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


@pytest.mark.parametrize("name", RECORDED)
def test_the_default_model_trains_to_the_recorded_bits(tmp_path, text, name):
    settings, sha256, *losses, norm = RECORDED[name]
    training = new_training(tmp_path / "run", text, **settings)
    list(training)
    digest = hashlib.sha256()
    for name, array in sorted(training.model.state_dict().items()):
        digest.update(name.encode() + array.tobytes())
    last = records(tmp_path / "run")[-1]
    assert (digest.hexdigest()[:12], last["grad_norm"]) == (sha256, norm)
    assert [last["train_loss"], last["val_loss"]] == pytest.approx(losses, rel=1e-6)  # the sum's last bit


def records(folder):
    return [r for r in read_log(f"{folder}/log.jsonl") if r["kind"] == "step"]


def tiny_model(seed=0, **sizes):
    small = {"vocab_size": 11, "context": 8, "layers": 1, "heads": 2, "width": 8}
    return tl.build({"model_type": "gpt2"} | small | sizes, seed=seed)


TOKENS = Random("tokens").integers(11, 500).astype(np.int32)


def windows(step):
    return tl.get_batch(TOKENS, 0, step, 4, 8)


class Drifting:
    """Batches that remember how often they were called."""

    def __init__(self):
        self.calls = np.zeros((), np.int64)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"].copy()

    def __call__(self, step):
        self.calls += 1
        return tl.get_batch(TOKENS, int(self.calls), 0, 4, 8)


class Counting(Drifting):
    def __call__(self, model, batch):
        self.calls += 1
        return next_token(model, batch) * float(1 + 0.1 * self.calls), {"calls": self.calls, "half": 0.5}


def test_what_batches_and_losses_remember_survives_a_kill(tmp_path, text):
    def training(folder, resume=False):
        run = tl.Run(folder)
        if not resume:
            new_training(folder, text)
        setup = reopen(run, run.read().config)
        setup.plan = dataclasses.replace(setup.plan, batches=Drifting(), loss=Counting())
        return setup.train(run, resume)

    list(training(tmp_path / "whole"))
    last = records(tmp_path / "whole")[-1]
    assert last["calls"] == 11 and last["half"] == 0.5  # the mean of steps 10 to 12
    for events_taken in (6, 10, 16):
        folder = tmp_path / str(events_taken)
        list(itertools.islice(training(folder), events_taken))
        list(training(folder, resume=True))
        assert outcome(folder) == outcome(tmp_path / "whole")


def test_a_batch_in_which_nothing_counts_is_refused():
    batch = Batch(np.zeros((2, 4), np.int32), np.full((2, 4), -100, np.int32))
    with pytest.raises(UserError, match="no target of a batch counts"):
        forward_backward(tiny_model(), batch, next_token)


def test_numbers_of_a_loss_that_the_log_cannot_hold(tmp_path, text):
    setup = new_training(tmp_path / "run", text, train__steps=2, train__checkpoint_every=1).setup
    setup.plan.loss = lambda model, batch: (next_token(model, batch), {"ratio": float("nan")})
    setup.plan.evaluate = lambda model: {"val_loss": 1.0, "accuracy": float("nan")}
    list(setup.train(tl.Run(tmp_path / "run")))
    last = records(tmp_path / "run")[-1]
    assert last["ratio"] is None and last["accuracy"] is None
    setup.plan.loss = lambda model, batch: (next_token(model, batch), {"lr": 1.0})
    with pytest.raises(ValueError, match="'lr' already"):
        list(setup.steps())


def test_fit_trains_on_tokens_or_on_a_function_of_the_step():
    model, other = tiny_model(), tiny_model()
    losses = fit(model, TOKENS, steps=30, batch=4, lr=1e-2)
    assert len(losses) == 30 and losses[-1] < losses[0]
    assert fit(other, windows, steps=30, lr=1e-2) == losses
    with pytest.raises(UserError, match=r"train\.steps must be"):
        fit(model, TOKENS, steps=0)


def test_a_group_with_a_rate_of_its_own():
    model = tiny_model()
    first, *rest = model.parameters()
    before = first.data.copy()
    optimizer = tl.AdamW([{"params": [first], "lr": 0.0}, {"params": rest}], lr=1e-2)
    _, step, *_ = train(model, windows, next_token, optimizer, steps=1)
    assert np.array_equal(first.data, before) and step.lr == 1e-2


# Rows of pairs, and objectives on them.


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
    pairs = [([1, 2], [3, 4]), ([5], [6, 7, 8])]
    model = tiny_model()
    alone, together = (rows(*zip(*pairs, strict=True), 8, packed=packed) for packed in (False, True))
    assert len(together.tokens) == 1 and together.starts.tolist() == [[0, 0, 0, 0, 4, 4, 4]]
    first = np.arange(7) < 4
    second = dataclasses.replace(together, targets=np.where(first, -100, together.targets))
    other = dataclasses.replace(second, tokens=np.where(first, 9, together.tokens))
    assert next_token(model, other).item() == next_token(model, second).item()
    assert alone.starts is None


@dataclasses.dataclass(frozen=True)
class Pairs(Batch):
    """Chosen rows, and the rejected ones beside them."""

    rejected: np.ndarray | None = None

    @property
    def count(self):
        return len(self.tokens)


def log_prob(model, row):
    return model.loss(row[None, :-1], row[None, 1:]) * (1.0 - len(row))


def dpo(model, batch):
    """Rafailov et al. 2023, equation 7, of a reference that likes both alike: a loss in one function."""
    terms = [F.log_sigmoid(log_prob(model, chosen) - log_prob(model, rejected))
             for chosen, rejected in zip(batch.tokens, batch.rejected, strict=True)]
    right = np.mean([term.item() > np.log(0.5) for term in terms])
    return sum(terms[1:], terms[0]) * (-1.0 / len(terms)), {"accuracy": right}


def test_an_objective_on_pairs_needs_one_function_and_one_kind_of_batch():
    chosen, rejected = (Random(name).integers(11, (4, 8)).astype(np.int32) for name in ("chosen", "rejected"))
    batch = Pairs(chosen, chosen, rejected=rejected)
    whole, parts = tiny_model(), tiny_model()
    losses = [forward_backward(whole, batch, dpo)[0], forward_backward(parts, batch, dpo, accumulate=4)[0]]
    assert losses[0] == pytest.approx(losses[1])
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6)
    model = tiny_model()
    happened = train(model, lambda step: batch, dpo, tl.AdamW(model.parameters(), 3e-3), steps=20)
    *_, last = (event for event in happened if isinstance(event, events.Stepped))
    assert last.loss < 0.5 and last.numbers["accuracy"] == 1


# Recipes, from the command line.


def as_toml(settings):
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with pairs to learn from and settings for a tiny run."""
    monkeypatch.chdir(tmp_path)
    pairs = [(f"{a}+{b}\t", f"{a + b}") for a in range(10) for b in range(10)] * 2
    lines = {"tsv": "".join(f"{prompt[:-1]}\\t\t{answer}\n" for prompt, answer in pairs),
             "jsonl": "".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in pairs)}
    for name, text in lines.items():
        tmp_path.joinpath(f"pairs.{name}").write_text(text)
    tmp_path.joinpath("tiny.toml").write_text(as_toml(SETTINGS))
    return tmp_path


def test_sft_learns_the_answers_from_either_format(here, capsys):
    for name in ("tsv", "jsonl"):
        assert main(["train", "sft", "--data", f"pairs.{name}", "--config", "tiny.toml", "--out", name]) == 0
    losses = [[record["train_loss"] for record in records(name)] for name in ("tsv", "jsonl")]
    assert losses[0] == losses[1]
    out = capsys.readouterr().out
    assert "doctor  answer_share" in out and records("tsv")[-1]["answer_share"] > 0.1
    assert main(["train", "--out", "tsv", "--resume", "--steps", "14"]) == 0
    assert tl.open_model("tsv").config.recipe == "sft"


def test_sft_begins_with_the_weights_of_a_run(here, refused):
    assert main(["train", "--data", "pairs.tsv", "--config", "tiny.toml", "--out", "base"]) == 0
    words = ["train", "sft", "--data", "pairs.tsv", "--set", "start=base", "--steps", "2", "--out", "tuned"]
    assert main([*words, "--set", "train.lr=1e-9"]) == 0
    base, tuned = tl.open_model("base").model, tl.open_model("tuned").model
    for a, b in zip(base.parameters(), tuned.parameters(), strict=True):
        np.testing.assert_allclose(a.data, b.data, atol=1e-7)
    (checkpoint,) = (here / "base" / "checkpoints").iterdir()  # a folder as Hugging Face has it
    assert main([*words[:4], "--set", f"start={checkpoint}", "--steps", "2", "--out", "other"]) == 0
    assert main(["quantize", "base"]) == 0
    assert main([*words[:4], "--set", "start=base-int8", "--out", "never"]) == 2
    assert "leave out preset" in refused(*words, "--overwrite", "--preset", "mini")
    assert tl.open_model("tuned").config.tokenizer == "base"


def test_the_doctor_says_that_answers_are_cut_off(here, printed):
    words = ["--data", "pairs.tsv", "--config", "tiny.toml", "--set", "model.context=5", "--out", "cut"]
    told = printed("train", "sft", *words).partition("before training")[0]
    assert "truncated 1 (healthy: 0 to 0.05; take a larger model.context" in " ".join(told.split())


def test_llama_trains_quantizes_generates_and_reports(here, text):
    settings = SETTINGS | {"model.kv_heads": 1, "model.hidden": 16}
    del settings["model.dropout"]
    here.joinpath("llama.toml").write_text(as_toml(settings))
    words = ["train", "--data", str(text), "--config", "llama.toml", "--model", "llama"]
    assert main([*words, "--out", "whole"]) == 0
    assert "A Llama of" in (here / "whole/report.html").read_text()
    assert main(["quantize", "whole"]) == 0
    for run in ("whole", "whole-int8"):
        assert main(["generate", run, "--prompt", "the", "--tokens", "5", "--seed", "1"]) == 0
    assert tl.open_model("whole").model.model_type == "llama"


def test_a_recipe_is_one_function(monkeypatch, text):
    """A new objective and a recipe of its own options, in a dozen lines; the doctor reads its numbers."""

    @dataclasses.dataclass(frozen=True)
    class Options(PretrainConfig):
        smoothing: float = 0.1

    monkeypatch.setitem(RECIPES, "smooth", None)  # so that it is gone after the test

    @recipe("smooth", "next token, less surely", Options)
    def smooth(parts):
        plan = find_recipe("pretrain").build(parts)

        def loss(model, batch):
            return next_token(model, batch) * (1 - parts.config.options.smoothing), {"unsure": 0.5}

        return dataclasses.replace(plan, loss=loss, healthy={"unsure": (0, 0.1, "be surer")})

    settings = {"data": str(text), "recipe": "smooth", "smooth.smoothing": "0.2"}
    setup = prepare(make_config(SETTINGS | settings))
    first = next(setup.steps())
    assert isinstance(setup.plan, Plan) and first.numbers == {"unsure": 0.5}
    assert doctor(setup.plan, {"unsure": 0.5}) == "unsure 0.5 (healthy: 0 to 0.1; be surer)"
