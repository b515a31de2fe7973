"""Check `tinyllm train`: one line for each mistake, nothing half written, runs that can be stopped."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from terminal import at_terminal
from tiny_run import SETTINGS, outcome, resumed_training, write_text

from tinyllm.cli import main
from tinyllm.cli.train import stop_on_signals
from tinyllm.runs.config import make_config, settings_help
from tinyllm.runs.log import read_log
from tinyllm.runs.setup import TrainSetup, prepare


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return the flags of a tiny run; flags after them override its settings."""
    folder = tmp_path_factory.mktemp("text")
    lines = [f"{name} = {json.dumps(value)}" for name, value in SETTINGS.items()]
    (folder / "tiny.toml").write_text("\n".join(lines))
    return ["--data", str(write_text(folder / "text.txt")), "--config", str(folder / "tiny.toml")]


def start(*words, stdout=subprocess.PIPE):
    """Start `tinyllm` in another process."""
    command = [sys.executable, "-m", "tinyllm", *map(str, words)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_the_bar_fits_into_a_narrow_terminal_also_when_the_text_goes_elsewhere(here, tiny):
    """The width is that of the terminal that shows the bar; standard output may be a file."""
    command = f"{shlex.quote(sys.executable)} -m tinyllm train {shlex.join(tiny)} --out run > text"
    shown, code = at_terminal(["sh", "-c", command], cwd=here, columns=60)
    bars = re.split(r"[\r\n]", shown)
    assert code == 0 and any("12/12" in bar and "val" in bar for bar in bars), shown
    assert max(map(len, bars)) <= 60
    assert "step " not in (here / "text").read_text().split("it writes")[1]  # only the bar shows steps


def test_losses_are_per_character(here, tiny, printed):
    shown = printed("train", *tiny, "--tokenizer", "bpe:270", "--out", "run")
    last = read_log(here / "run" / "log.jsonl")[-1]
    val, size = last["val_loss_per_char"], last["val_loss"] / last["val_loss_per_char"]
    assert size > 1.5 and f"step 12/12  loss {last['train_loss'] / size:.3f}  val {val:.3f}" in shown
    assert f"validation loss {val:.3f} nats per character" in shown and "step  3/12" not in shown


SECONDS = st.floats(0, 5)


@given(st.floats(0.5, 2), SECONDS, SECONDS, st.integers(1, 20), st.integers(1, 20))
def test_the_time_that_is_given_is_used_up_and_not_exceeded(tiny, step, evaluation, sample, every, rarely):
    """A clock moves with each step, evaluation and sample; what is planned is then trained."""
    more = {"train.eval_every": every, "train.sample_every": rarely, "train.steps": 500}
    setup = prepare(make_config(SETTINGS | {"data": tiny[1]} | more))
    now = 0.0

    def taking(seconds, action):
        def act(argument):
            nonlocal now
            now += seconds
            return action(argument)
        return act

    setup.plan.batches = taking(step, setup.plan.batches)
    setup.plan.evaluate = taking(evaluation, lambda model: {"val_loss": 1.0})
    setup.plan.sample = taking(sample, lambda model: "once")
    steps = setup.steps_in(60, lambda: now)
    setup.config = replace(setup.config, train=replace(setup.config.train, steps=steps))
    list(setup.train())
    assert steps == 1 or 60 - 2 * (step + evaluation + sample) <= now <= 60


def test_a_training_without_evaluations_gives_the_same_bits(tiny):
    looked, other = (prepare(make_config(SETTINGS | {"data": tiny[1]})) for _ in range(2))
    list(looked.train())
    bits = [{name: array.tobytes() for name, array in model.state_dict().items()}
            for model in (looked.model, other.finish().model)]
    assert bits[0] == bits[1]


def test_minutes_give_the_bits_of_as_many_steps(here, tiny, printed, monkeypatch):
    """Steps that are timed change nothing, and the warm-up is a twentieth of those that are planned."""
    monkeypatch.setattr(TrainSetup, "steps_in", lambda setup, s: next(setup.steps()).step * int(s))
    (here / "free.toml").write_text(re.sub("train.steps.*", "", Path(tiny[-1]).read_text()))
    words = ["train", *tiny[:-1], "free.toml", "--out"]
    printed(*words, "planned", "--minutes", "0.35")
    printed(*words, "given", "--steps", "21")
    assert outcome(here / "planned") == outcome(here / "given")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(here, tiny, number):
    process = start("train", "--out", here / "run", *tiny, "--steps", "100000",
                    "--set", "train.warmup=0", "--set", "train.min_lr_ratio=1")
    for line in process.stdout:
        if line.startswith("step      8/"):
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert "--resume" in out and "stopped" in out
    assert resumed_training(here / "run").loop.progress.step >= max(8, read_log("run/log.jsonl")[-1]["step"])


def test_a_second_signal_stops_at_once(capfd):
    """The first signal waits for the end of the step, which may take minutes."""
    stopping, before = threading.Event(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_on_signals(stopping):
        signal.raise_signal(signal.SIGINT)
        assert stopping.is_set() and "Ctrl-C again stops at once" in capfd.readouterr().err
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_broken_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)  # so that every write fails, even the flush at exit
    process = start("train", "--help", stdout=writer)
    os.close(writer)
    assert process.stderr.read() == ""
    process.wait(timeout=30)


def test_every_setting_is_listed(capsys):
    """`train --settings` lists them; in `train --help` they once took most of 183 lines."""
    with pytest.raises(SystemExit):
        main(["train", "--settings"])
    out = "\n" + capsys.readouterr().out
    assert not [name for name in settings_help() if f"\n  {name} " not in out]
    assert max(map(len, out.splitlines())) <= 80
