"""Check `tinyllm train`: one line for each mistake, nothing half written, runs that can be stopped."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from terminal import at_terminal
from tiny_run import SETTINGS, resumed_training, write_text

from tinyllm.cli import main
from tinyllm.cli.train import stop_on_signals
from tinyllm.runs.config import settings_help
from tinyllm.runs.log import read_log


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
