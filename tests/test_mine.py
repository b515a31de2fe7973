"""`train --mine` and `blame`: a student's functions in the real model, and which of them spoils it."""

import json
import re
from pathlib import Path

import pytest
from tiny_run import SETTINGS, write_text

from tinyllm.cli import main
from tinyllm.ops.registry import OPS
from tinyllm.teach.solved import STANDARD, collect
from tinyllm.teach.syllabus import find_lesson
from tinyllm.teach.workspace import start_lesson

SCALE = "q.shape[3] ** (-0.5)"  # as ast.unparse writes the library's
DIAGONAL = "def softmax_backward(dy, y):\n    return -y * (1 - y) * dy\n"
REPEATS = "def softmax(x):\n    return np.full_like(x, 1 / max(x.shape[-1], 1))\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A workspace as the folder at hand, with a text and settings for a tiny run."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{name} = {json.dumps(value)}" for name, value in SETTINGS.items() if "steps" not in name]
    (tmp_path / "tiny.toml").write_text("\n".join(lines))
    write_text(tmp_path / "text.txt")
    return tmp_path


def write(folder, number, extra="", change=lambda source: source):
    """Write the library's own solution of a lesson into the workspace, changed somehow."""
    lesson, found = find_lesson(number), {}
    start_lesson(lesson, folder)
    for task in lesson.tasks:
        collect(OPS[task.op].reference, found)
    source = STANDARD + "\n\n".join(reversed(found.values())) + "\n\n" + extra
    (folder / lesson.folder / "exercise.py").write_text(change(source))


def train(*words):
    words = ["--steps", "12", "--lr", "0.03", *words]
    return main(["train", "--data", "text.txt", "--config", "tiny.toml", *words])


def last_loss(run):
    return json.loads(Path(run, "log.jsonl").read_text().splitlines()[-1])["val_loss"]


def test_a_right_exercise_trains_as_the_library_does(here, capsys):
    write(here, 4)
    assert train("--mine", "4", "--out", "mine") == 0
    said = capsys.readouterr().out
    assert "yours: softmax (lesson 4), softmax_backward (lesson 4)" in said
    assert "never called by this training: log_softmax" in said
    assert train("--out", "ours") == 0
    assert all(op.yours is None for op in OPS.values())
    assert last_loss("mine") == pytest.approx(last_loss("ours"), abs=1e-5)
    record = json.loads((here / "mine/config.json").read_text())["found"]["mine"]
    assert [part["op"] for part in record] == [task.name for task in find_lesson(4).tasks]
    assert "mine" not in json.loads((here / "ours/config.json").read_text())["found"]
    assert main(["blame", "mine"]) == 0
    assert "nothing to blame" in capsys.readouterr().out


def test_the_numbers_really_come_from_the_student(here, capsys):
    write(here, 4, REPEATS + DIAGONAL)
    assert train("--mine", "4", "--out", "mine") == 0
    assert train("--out", "ours") == 0
    assert abs(last_loss("mine") - last_loss("ours")) > 1e-6


def test_several_lessons_and_what_is_not_attempted(here, capsys):
    write(here, 4)
    start_lesson(find_lesson(6), here)
    assert train("--mine", "4,6", "--mine", "4") == 0
    out = capsys.readouterr().out
    assert "lesson 6: not attempted, so the library's: attention, rope_tables, rope" in out
    assert (here / "runs/text-nano-mine/config.json").is_file()


BROKEN = {
    "a syntax error": (lambda s: s + "def softmax(x:\n", "exercise.py, line"),
    "an error in the import": (lambda s: s + "1 / 0\n", "ZeroDivisionError"),
    "an exit": (lambda s: s + "raise SystemExit(0)\n", "ends Python"),
    "other arguments": (lambda s: s + "def softmax(z):\n    return z\n", "softmax is called as softmax(x)"),
    "no function": (lambda s: s + "softmax = 3\n", "softmax is no function"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_used_is_one_line_and_nothing_is_written(here, capsys, case):
    change, words = BROKEN[case]
    write(here, 4, change=change)
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (here / "run").exists()
    assert all(op.yours is None for op in OPS.values())


@pytest.mark.parametrize("numbers, words", [
    ("44", "no lesson '44'"), ("4,,6", "by number"), ("10", "no functions that a model calls"),
    ("5", "start 5"), ("4", "nothing of yours"),
])  # fmt: skip
def test_lessons_that_cannot_be_used(here, capsys, numbers, words):
    start_lesson(find_lesson(4), here)
    assert train("--mine", numbers) == 2
    captured = capsys.readouterr()
    assert words in captured.err + captured.out and captured.err.count("\n") == 1
    assert not (here / "runs").exists()


@pytest.mark.parametrize("body, words", [
    ("return x.no_such_thing", "failed: AttributeError"),
    ("return None", "returns something else"),
    ("return x.astype(np.float64)", "y should be float32, got float64"),
    ("return x[..., :1]", "y should have shape"),
])  # fmt: skip
def test_a_function_that_fails_in_training_is_named_with_its_lesson(here, capsys, body, words):
    write(here, 4, f"def softmax(x):\n    {body}\n")
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error
    assert "your softmax (lesson 4, 04_softmax_and_loss/exercise.py)" in error
    assert not (here / "run").exists()  # or the next try would find the name taken


LATER = """
first, calls = {op}, []
def {op}(*args, **named):
    calls.append(1)
    right = first(*args, **named)
    return right if len(calls) < 4 else {value}
"""


@pytest.mark.parametrize("op, value", [
    ("softmax_backward", "None"), ("cross_entropy_backward", "right * np.float32(np.nan)"),
    ("cross_entropy", "(np.float32(np.inf), right[1])"), ("softmax", "right.astype(float)"),
])  # fmt: skip
def test_a_function_that_goes_wrong_later_is_named(here, capsys, op, value):
    write(here, 4, LATER.format(op=op, value=value))
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "blown up" not in error
    assert re.search(rf"your {op} \(lesson 4, .*exercise.py\), line \d+, returns something else", error)


def test_an_optimizer_that_spoils_the_weights_is_named(here, capsys):
    write(here, 8, "def adamw_step(w, *args, **named):\n    w[:] = np.nan\n")
    assert train("--mine", "8") == 2
    error = capsys.readouterr().err
    assert "your adamw_step (lesson 8" in error and "w has numbers that are not finite" in error
    write(here, 8, "def adamw_step(w, *args, **named):\n    return w\n")
    assert train("--mine", "8") == 2
    assert "works in place and must return None" in capsys.readouterr().err


@pytest.mark.parametrize("when", ["while True: pass", "if len(calls) > 3: raise KeyboardInterrupt"])
def test_ctrl_c_inside_a_function_says_where(here, capsys, monkeypatch, when):
    """An endless loop in the step that is tried first, and Ctrl-C twice in a later one."""
    loop = when.replace("pass", "raise KeyboardInterrupt")  # what Python raises in the line at hand
    write(here, 4, f"calls = []\nfirst = softmax\ndef softmax(x):\n    calls.append(1)\n    {loop}\n"
                   "    return first(x)\n")  # fmt: skip
    assert train("--mine", "4") == 130
    lines = (here / "04_softmax_and_loss/exercise.py").read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "raise KeyboardInterrupt" in line)
    place = f"your softmax (lesson 4, 04_softmax_and_loss/exercise.py), line {number}"
    assert f"stopped inside {place}" in capsys.readouterr().err


def test_a_file_without_functions_that_does_not_run_is_no_empty_one(here, capsys):
    write(here, 6, change=lambda source: 'raise ValueError("boo")\n')
    assert train("--mine", "6") == 2
    assert "exercise.py, line 1: ValueError: boo" in capsys.readouterr().err


SUMMED = """
mean = cross_entropy
def cross_entropy(logits, targets, ignore_index=-100):
    loss, lse = mean(logits, targets, ignore_index)
    return loss * np.float32(1000), lse
"""


def test_a_loss_too_large_for_a_perplexity_ends_as_usual(here, capsys):
    write(here, 4, SUMMED)
    assert train("--mine", "4", "--out", "a run") == 0
    assert train("--out", "a run", "--resume") == 0
    said = capsys.readouterr().out
    assert said.count("perplexity inf") == 2 and said.count("tinyllm blame 'a run'") == 2
    assert "open 'a run/report.html' in a browser" in said


def blamed(capsys, code=1):
    assert main(["blame"]) == code
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    return [line.split()[3] for line in said.splitlines() if line.startswith("to blame: ")], said


def test_blame_names_the_one_culprit(here, capsys):
    write(here, 4, DIAGONAL)
    train("--mine", "4")
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["softmax_backward"]
    assert "with the library's in place of it, the loss is right" in said


def test_blame_shows_a_bar_in_a_terminal(here, capsys, monkeypatch):
    write(here, 4, DIAGONAL)
    train("--mine", "4", "--steps", "2")
    capsys.readouterr()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["blame"]) in (0, 1)
    assert "steps" in capsys.readouterr().err


def test_blame_names_several_culprits(here, capsys):
    write(here, 4, DIAGONAL)
    write(here, 6, change=lambda source: source.replace(SCALE, "1.0"))
    train("--mine", "4,6")
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["softmax_backward", "attention"]
    assert "in place of them" in said


def test_blame_names_a_function_that_fails(here, capsys):
    write(here, 4)
    train("--mine", "4")
    write(here, 4, "def softmax_backward(dy, y):\n    return dy[99]\n")
    capsys.readouterr()
    names, said = blamed(capsys)
    assert names == ["softmax_backward"] and "IndexError" in said and "your files have changed" in said


def test_blame_needs_a_run_with_functions_of_the_students(here, capsys):
    assert main(["blame"]) == 2
    assert train("--out", "ours") == 0
    assert main(["blame", "ours"]) == 2
    assert "trained by the library alone" in capsys.readouterr().err


def test_a_run_that_is_resumed_knows_its_lessons(here, capsys):
    write(here, 4)
    train("--mine", "4", "--out", "run")
    capsys.readouterr()
    assert main(["train", "--out", "run", "--resume", "--steps", "14"]) == 0
    assert "yours: softmax (lesson 4)" in capsys.readouterr().out
    assert json.loads((here / "run/config.json").read_text())["found"]["mine"]
