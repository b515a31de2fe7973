"""Step through lessons: in a terminal they wait at each step and can be left; elsewhere they run through."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import CTRL_C, at_terminal

from tinyllm.course import lesson_runner
from tinyllm.course.lesson_runner import STOPPED, bars, begin, compare, predict

LESSON = """# %% [markdown]
# # 0. A lesson

# %%
from tinyllm.course.lesson_runner import begin, compare, predict
begin()

# %% [markdown]
# With **strong words** and *a
# term*; 2 * 3 * 4 and a*b*c.

# %%
guess = predict("how many of them are there in both of the boxes?!")
print(compare(guess, 5))

# %% [markdown]
# And now

# %%
print("the last " + "cell")

# %% [markdown]
# The end.
"""
QUESTION = "? how many of them are there in both of the boxes?!"
PIPED = f"""
# 0. A lesson

With **strong words** and *a
term*; 2 * 3 * 4 and a*b*c.

| guess = predict("how many of them are there in both of the boxes?!")
| print(compare(guess, 5))
{QUESTION}
it is 5

And now

| print("the last " + "cell")
the last cell

The end.

next: fill in 00_setup/exercise.py, then type `tinyllm check 0`
"""
ENTER = "Enter runs this code"


@pytest.fixture
def lesson(here):
    (path := here / "00_setup" / "lesson.py").parent.mkdir()
    path.write_text(LESSON)
    return [sys.executable, str(path)]


def piped(*command, quiet=""):
    """Run a script without a terminal -> its CompletedProcess."""
    environment = os.environ | {"TINYLLM_LESSON": quiet}
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, *map(str, command)], env=environment, **how)


def plain(shown):
    return re.sub(r"\x1b\[\d*m", "", shown)


def test_each_cell_waits_and_says_how_many_there_are(lesson):
    keys = [("1 of 2: " + ENTER, "\n"), ("Enter to pass)", "4\n"), ("2 of 2: " + ENTER, "\n")]
    shown, code = at_terminal(lesson, keys)
    assert code == 0 and "\nthe last cell" in shown
    assert "it is 5; you said 4, which is 0.8 times as much" in shown
    styled = "\033[1mstrong words\033[0m and \033[3ma\033[0m\n\033[3mterm\033[0m; 2 * 3 * 4 and a*b*c"
    assert styled in shown.replace("\r", "")
    assert all(len(line) <= 80 for line in plain(shown).splitlines())


@pytest.mark.signals
@pytest.mark.parametrize("keys, code", [
    ([(ENTER, "\n"), ("to pass)", "\n"), (ENTER, "\x04")], 0), ([(ENTER, "\n"), ("to pass)", "q\n")], 0),
    ([(ENTER, CTRL_C)], -signal.SIGINT), ([(ENTER, "\n"), ("to pass)", CTRL_C)], -signal.SIGINT),
], ids=["end of input", "q at a question", "Ctrl-C", "Ctrl-C at a question"])
def test_a_lesson_can_be_left_without_a_traceback(lesson, keys, code):
    shown, ended = at_terminal(lesson, keys)
    assert ended == code and plain(shown).rstrip().endswith(STOPPED.format(shown.count(ENTER)))
    assert "Traceback" not in shown and "\nthe last cell" not in shown


@pytest.mark.parametrize("quiet, shown", [
    ("", PIPED), ("quiet", f"{QUESTION}\nit is 5\nthe last cell\n"),
])
def test_without_a_terminal_a_lesson_runs_straight_through(lesson, quiet, shown):
    """The output includes the prose, which explains it; only with TINYLLM_LESSON=quiet it is left out."""
    done = piped(lesson[1], quiet=quiet)
    assert done.stdout == shown and not done.stderr


def test_a_lesson_can_start_at_a_step(lesson):
    """Earlier steps run, but show nothing and ask nothing."""
    shown, code = at_terminal([*lesson, "--from", "2"], [(f"2 of 2: {ENTER}", "\n")])
    assert code == 0 and "running steps 1 to 1 without showing them" in shown
    assert "And now" in shown and "the last cell\n" in shown
    assert "A lesson" not in shown and "it is 5" not in shown and "how many" not in shown


def test_what_is_wrong_with_a_students_file_is_one_line(lesson):
    with open(lesson[1], "a") as f:
        f.write("from tinyllm.errors import UserError\nraise UserError('no such thing; write one')\n")
    done = piped(lesson[1])
    assert (done.returncode, done.stderr) == (2, "tinyllm: error: no such thing; write one\n")
    assert "next:" not in done.stdout


def test_begin_gives_the_folder_of_the_script_and_a_notebook_has_none(here):
    assert begin() == Path(__file__).parent
    names = {}
    exec("from tinyllm.course.lesson_runner import begin\nfolder = begin()", names)
    assert names["folder"] == here


def test_what_is_no_number_is_asked_for_again_and_a_prediction_is_set_beside_the_result(monkeypatch, capsys):
    """A decimal comma was once dropped, so that 1,5 was read as 15."""
    monkeypatch.setattr(lesson_runner, "interactive", lambda: True)
    answers = ["4.2", "1e6", "1,5", "many", "1,000", ""]
    monkeypatch.setattr("builtins.input", lambda prompt: answers.pop(0))
    assert [predict("how many?") for _ in range(3)] == [4.2, 1e6, None] and not answers
    assert capsys.readouterr().out.count("a number such as") == 3
    for guess, actual, said in (
        (None, 1234567, "it is 1,234,567"), (101, 100.0, "it is 100: you said 101, well predicted"),
        (-300, -100.0, "it is -100; you said -300, which is 3 times as much"),
        (-1, 100.0, "it is 100; you said -1"), (0, 0, "it is 0: you said 0, well predicted"),
    ):
        assert compare(guess, actual) == said


def test_bars_are_as_long_as_their_values():
    lines = bars([1, 2, 4], ["a", "bb", "c"], width=8).splitlines()
    assert [line.count("#") for line in lines] == [2, 4, 8] and len({line.index("#") for line in lines}) == 1
    assert bars([0, 0], "ab").count("#") == 0 and bars([], []) == ""


SCRIPT = """
import time
from tinyllm.course.lesson_runner import ask, progress
print(list(progress([0, 1, 4], 3)))
print("computing", flush=True)
time.sleep(0.5)
print("answer:", ask("a question? "))
"""


def test_keys_typed_early_answer_no_question_and_progress_leaves_nothing(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    shown, _ = at_terminal([sys.executable, str(path)], [("computing", "early\n"), ("question?", "late\n")])
    assert "answer: late" in shown and " 0/3 [" in shown and "\r[0, 1, 4]" in shown
    done = piped(path)
    assert done.stdout.startswith("[0, 1, 4]\n") and not done.stderr
