"""Check the small model in the package: its hash, its loss, and the commands that open it."""

import fnmatch
import io
import os
import re
import shutil
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shipped_model
from helpers import refuses

import tinyllm as tl
from tinyllm.cli import chat as cli, main
from tinyllm.cli.opening import ABOUT_SHIPPED
from tinyllm.cli.text import write
from tinyllm.models.registry import SHIPPED
from tinyllm.tokenizer.files import OF_THE_WORLD
from tinyllm.world import stories

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(SHIPPED.iterdir())


def test_its_bits_are_those_that_its_command_makes_and_it_is_small_and_in_every_wheel():
    """`python tools/shipped_model.py --check` trains it again; this test compares settings and SHA-256."""
    assert shipped_model.sha256(shipped_model.WEIGHTS) == shipped_model.SHA256
    assert (SHIPPED / "tokenizer.json").read_bytes() == OF_THE_WORLD.read_bytes()
    model = tl.build(replace(tl.make_config(shipped_model.SETTINGS).model, vocab_size=1024))
    assert tl.from_pretrained("shipped").config == model.config
    assert f"{model.num_parameters() / 1e6:.1f}M parameters" in ABOUT_SHIPPED
    assert sum(file.stat().st_size for file in FILES) < 1_500_000
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["tinyllm"]
    names = [file.relative_to(ROOT / "tinyllm").as_posix() for file in FILES]
    assert all(any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in names)


def test_it_has_learnt_the_stories():
    """Its loss on new stories is 0.07 to 0.15 nats per character; the entropy of stories is 0.069."""
    opened = tl.open_model("shipped")
    ids = np.array(opened.tokenizer.encode(stories.generate(seed=1, n=60)))[: 40 * 256 + 1]
    with tl.no_grad():
        nats = opened.model.loss(ids[:-1].reshape(40, 256), ids[1:].reshape(40, 256)).item()
    assert 0.07 < nats * (len(ids) - 1) / len(opened.tokenizer.decode(ids[1:].tolist())) < 0.15
    assert opened.config is None


def test_it_writes_where_nothing_was_trained(here, capsys):
    words = ["--prompt", "Once upon a time", "--tokens", "30", "--temperature", "0"]
    assert main(["generate", *words]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Once upon a time there was a") and err == ABOUT_SHIPPED + "\n"
    assert main(["generate", "shipped", *words]) == 0
    assert capsys.readouterr() == (out, "")  # no notice if its name is given
    assert not os.listdir(here)
    assert main(["trace", "shipped", "--prompt", "Once", "--tokens", "1"]) == 0
    assert os.listdir(here) == ["trace.html"]


def test_the_newest_run_comes_first(here, whole, capsys, refused):
    for name in ("new", "old"):
        shutil.copytree(whole, here / "runs" / name)
    os.utime("runs/old/run.json", times=(time.time() - 1e6,) * 2)
    (here / "runs" / "begun").mkdir()
    (here / "runs" / "begun" / "run.json").write_text("{}")  # a run without a checkpoint
    assert main(["generate", "--tokens", "3"]) == 0
    assert capsys.readouterr().err == f"{Path('runs/new')}, the newest run\n"
    assert "there are runs/begun, runs/new, runs/old" in refused("generate", "runs/nwe")


def test_lines_from_a_pipe_are_answered(here, capsys, monkeypatch):
    lines = io.BytesIO(b"Once upon a time\n\xff\n\n/quit")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines, "utf-8"))
    assert main(["chat", "--tokens", "5", "--temperature", "0"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{cli.WELCOME}\n> Once upon a time\n there was a")
    assert out.count("\n> ") == 4 and out.endswith("> /quit\n") and err == ABOUT_SHIPPED + "\n"


def test_shipped_is_the_name_of_a_model_only(here):
    (here / "shipped").mkdir()
    for call in (tl.from_pretrained, tl.open_model):
        refuses(r"config\.json|no run", call, "shipped")  # the user's own folder


@pytest.mark.parametrize("terminal", [True, False])
def test_a_text_is_written_as_it_is_and_bold_in_a_terminal_only(capsys, monkeypatch, terminal):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    for i, piece in enumerate(("Once ", "upon\n", " a  time", "x" * 200)):
        write(piece, bold=i == 1)
    out = capsys.readouterr().out
    assert re.sub(r"\x1b\[\d*m", "", out) == "Once upon\n a  time" + "x" * 200
    assert ("\x1b[1mupon\x1b[0m\n" in out) == terminal == ("\x1b" in out)
