"""The speedrun ends at its target, counts what was trained, and times nothing else."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tinyllm.bench import peers, speedrun
from tinyllm.bench.setting import Setting
from tinyllm.bench.speedrun import measure_speedrun
from tinyllm.cli import bench as cli
from tinyllm.cli import main

SMALL = {"model.width": 16, "model.layers": 1, "model.heads": 2, "model.kv_heads": 1, "model.hidden": 16,
         "model.context": 16, "tokenizer": "char", "train.batch": 2, "train.eval_every": 2}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. " * 100)
    return str(path)


@pytest.fixture
def settings(text):
    return SMALL | {"data": text, "train.steps": 6}


def test_every_evaluation_is_a_record(settings):
    records = list(measure_speedrun(settings))
    assert [(r["step"], r["tokens"]) for r in records] == [(2, 64), (4, 128), (6, 192)]
    assert all(r["target"] is None and not r["reached"] for r in records)
    seconds = [r["seconds"] for r in records]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_a_speedrun_ends_where_the_target_is_reached(settings):
    second = list(measure_speedrun(settings))[1]["val_loss_per_char"]
    records = list(measure_speedrun(settings, target=second))
    assert [r["reached"] for r in records] == [False, True]


def test_minutes_are_planned_by_the_speed_of_trial_steps(settings, monkeypatch):
    monkeypatch.setattr(speedrun, "seconds_per_step", lambda setup: 1.0)
    assert list(measure_speedrun(settings, minutes=0.07))[-1]["step"] == 4


def test_a_text_of_known_entropy_has_a_target(monkeypatch):
    facts = SimpleNamespace(entropy_per_char=0.07)
    monkeypatch.setattr(speedrun, "prepare", lambda config: SimpleNamespace(facts=facts))
    monkeypatch.setattr(speedrun, "_recipe", lambda setup: iter([{"val_loss_per_char": 0.119}, {}]))
    assert [(r["target"], r["reached"]) for r in measure_speedrun({})] == [(pytest.approx(0.12), True)]


def test_the_command_shows_both_and_says_who_arrived(text, settings, monkeypatch, capsys, printed):
    def nanogpt(setting, learnt, held_out, seconds, threads):
        assert len(learnt) > len(held_out) > 0 and seconds > 0 and setting.vocab_size == 11
        yield {"step": 9, "tokens": 2_000_000, "seconds": 30.0, "val_loss_per_char": 1.9}

    monkeypatch.setattr(speedrun, "load_torch", lambda: SimpleNamespace(nanogpt=nanogpt))
    monkeypatch.setattr(cli, "load_torch", lambda: None)
    monkeypatch.setattr(speedrun, "make_config", lambda given: original(settings | given))
    command = ["bench", "speedrun", "--data", text, "--tokenizer", "char", "--target", "99", "--peers"]
    shown = printed(*command)
    for engine in ("tinyllm", "nanoGPT"):
        assert f"{engine} reached the target of 99.000 in" in " ".join(shown.split())
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert main([*command, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [r.get("engine") for r in records] == [None, "tinyllm", "nanoGPT"]


original = speedrun.make_config


@pytest.mark.parametrize("flag", ["--target", "--minutes", "--tokenizer"])
def test_flags_of_speedrun_go_with_no_other_bench(flag, refused):
    assert f"{flag} goes with speedrun" in refused("bench", "ops", flag, "1")


def test_nanogpts_recipe_learns():
    pytest.importorskip("torch")
    torch = peers.load("train")
    tokens = np.arange(2000) % 5
    setting = Setting("tiny", layers=1, heads=2, width=32, context=16, batch=4, vocab_size=5)
    records = list(torch.nanogpt(setting, tokens, tokens[:200], 0.5, 1, evaluations=2))
    assert records[-1]["val_loss_per_char"] < np.log(5) and records[-1]["tokens"] == 64 * records[-1]["step"]
    assert torch.nanogpt_rate(99, 2000) == pytest.approx(1e-3, rel=0.02)
    assert torch.nanogpt_rate(1999, 2000) == pytest.approx(1e-4, rel=0.01)
