"""The front door: what is wrong with a command line is one line that says what to do, and exit code 2."""

import io
import time

import pytest

from tinyllm.cli import main
from tinyllm.cli.text import progress_bar


@pytest.mark.parametrize("words, why", [
    ("lessons", "there is no command 'lessons'; did you mean `tinyllm lesson`?"),
    ("tokeniser train", "did you mean `tinyllm tokenizer`?"),
    ("qqqq", "`tinyllm --help` lists the commands"),
    ("check 4 a.py b.py", "unrecognized arguments: b.py (see `tinyllm check --help`)"),
    ("train --mine 4 6", "there is no recipe '6'; there are pretrain, sft"),
    ("--nonsense", "unrecognized arguments: --nonsense (see `tinyllm --help`)"),
    ("\x1b[2J" + "x" * 500, "there is no command '\\x1b[2J"),
])  # fmt: skip
def test_a_wrong_word_is_answered_in_one_line(capsys, words, why):
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert why in said.err and said.err.count("\n") == 1 and len(said.err) < 200 and not said.out


@pytest.mark.parametrize("terminal", [True, False])
def test_a_progress_bar_is_shown_in_a_terminal_only_and_wiped_out(monkeypatch, terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("merges", ncols=40, mininterval=0) as move:
        time.sleep(0.001)
        move(1, 2)
    shown = stream.getvalue().split("\r")
    assert (any("merges:  50%" in part for part in shown)) == terminal and not shown[-1].strip()
