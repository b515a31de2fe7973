"""Stepping through a lesson: a terminal stops and asks, a notebook asks, anything else runs through."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from tinyllm.teach.stepping import bars, begin, cells, compare, interactive, predict

LESSON = '''# %% [markdown]
# # 0. Title

# %%
from tinyllm.teach.stepping import begin, compare, predict
folder = begin()

# %% [markdown]
# Prose with **strong words** and *a
# term*; 2 * 3 * 4 and a*b*c are products.

# %%
def work():
    return 6


print("before", folder.name)
print(compare(predict("how many?"), work()))

# %% [markdown]
# The end.
'''


@pytest.fixture
def lesson(tmp_path):
    path = tmp_path / "lesson.py"
    path.write_text(LESSON, "utf-8")
    return path


def in_a_terminal(lesson, typed):
    """Run a script in a pseudo-terminal, with all keys typed beforehand -> (exit code, what it showed)."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "TINYLLM_LESSON"}
    process = subprocess.Popen([sys.executable, str(lesson)], stdin=theirs, stdout=theirs, stderr=theirs,
                               close_fds=True, env=environment, cwd=lesson.parent)  # fmt: skip
    os.close(theirs)
    os.write(ours, typed)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    return process.wait(60), shown.decode()


def test_a_terminal_shows_prose_then_code_and_asks_before_the_result(lesson):
    code, shown = in_a_terminal(lesson, b"\n7\n")
    assert code == 0
    order = ["0. Title", "strong words", "def work", "Enter runs this code", f"before {lesson.parent.name}",
             "? how many?", "it is 6; you said 7, 1.2 times too large", "The end."]  # fmt: skip
    places = [shown.index(words) for words in order]
    assert places == sorted(places)
    assert "\033[1mstrong words\033[0m and \033[3ma\r\nterm\033[0m; 2 * 3 * 4 and a*b*c" in shown


def test_a_terminal_asks_again_until_it_gets_a_number(lesson):
    assert "it is 6: you said 6, well predicted" in in_a_terminal(lesson, b"\nsix\n6\n")[1]


def test_without_a_terminal_it_runs_through_and_shows_the_question(lesson):
    done = subprocess.run([sys.executable, str(lesson)], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout == f"before {lesson.parent.name}\n? how many?\nit is 6\n"


def test_a_notebook_has_no_file_and_uses_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells(LESSON):
        if not cell.prose:
            exec(cell.text, names)
    assert names["folder"] == tmp_path
    assert capsys.readouterr().out == f"before {tmp_path.name}\n? how many?\nit is 6\n"


def test_a_notebook_asks_where_somebody_can_answer(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.delenv("TINYLLM_LESSON", raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "1,000")
    assert predict("how many?") == 1000

    def nobody(prompt):
        raise NotImplementedError("no front end")

    monkeypatch.setattr("builtins.input", nobody)
    assert predict("how many?") is None
    assert capsys.readouterr().out == "? how many?\n"
    monkeypatch.setenv("TINYLLM_LESSON", "quiet")
    monkeypatch.setattr("builtins.input", lambda prompt: "1")
    assert predict("how many?") is None and not interactive()


def test_begin_gives_the_folder_of_the_script_that_calls_it():
    assert begin() == Path(__file__).parent


@pytest.mark.parametrize(
    ("guess", "actual", "said"),
    [
        (None, 1234567, "it is 1,234,567"),
        (5, 5, "it is 5: you said 5, well predicted"),
        (101, 100.0, "it is 100: you said 101, well predicted"),
        (50, 100.0, "it is 100; you said 50, 2.0 times too small"),
        (-300, -100.0, "it is -100; you said -300, 3.0 times too large"),
        (-1, 100.0, "it is 100; you said -1"),
        (1, 0, "it is 0; you said 1"),
        (0, 0, "it is 0: you said 0, well predicted"),
    ],
)
def test_a_prediction_is_set_beside_the_result(guess, actual, said):
    assert compare(guess, actual) == said


def test_bars_are_as_long_as_their_values():
    lines = bars([1, 2, 4], ["a", "bb", "c"], width=8).splitlines()
    assert [line.count("#") for line in lines] == [2, 4, 8] and len({line.index("#") for line in lines}) == 1
    assert bars([0, 0], "ab").count("#") == 0 and bars([], []) == ""
