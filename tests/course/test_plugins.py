"""Check `train --mine`, which trains the real model on a student's functions, and `blame` after it."""

import json
import re
import sys
from pathlib import Path
from unittest.mock import create_autospec

import numpy as np
import pytest
from plugin_run import train, write

from tinyllm.cli import main
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.training import plugged_in
from tinyllm.course.workspace import start_lesson
from tinyllm.ops.registry import OPS, override
from tinyllm.runs import make_config, prepare


def last_loss(run):
    return json.loads(Path(run, "log.jsonl").read_text().splitlines()[-1])["val_loss"]


def test_a_right_exercise_trains_as_the_library_does(workspace, capsys, printed):
    write(workspace, 4)
    assert train("--mine", "4", "--out", "mine") == 0
    said = capsys.readouterr().out
    assert "yours: softmax (lesson 4), softmax_backward (lesson 4)" in said
    assert "log_softmax 0 times" in said and "cross_entropy_backward 12 times" in said
    assert train("--out", "ours") == 0
    assert all(op.override is None for op in OPS.values())
    assert last_loss("mine") == pytest.approx(last_loss("ours"), abs=1e-5)
    record = json.loads((workspace / "mine/run.json").read_text())["notes"]["replaced_ops"]
    assert [part["op"] for part in record] == [task.name for task in find_lesson(4).tasks]
    assert json.loads((workspace / "ours/run.json").read_text())["notes"] == {}
    assert "These ops were replaced: softmax, softmax_" in (workspace / "mine/report.html").read_text()
    assert "replaced" not in (workspace / "ours/report.html").read_text()
    assert "nothing to blame" in printed("blame", "mine")
    said = printed("train", "--out", "mine", "--resume")  # the run has recorded its lessons
    assert "yours: softmax (lesson 4)" in said and "called: softmax 0 times" in " ".join(said.split())


DIAGONAL = "def softmax_backward(dy, y):\n    return -y * (1 - y) * dy\n"
LATER = """
first, calls = {op}, []
def {op}(*args, **named):
    calls.append(1)
    right = first(*args, **named)
    return right if len(calls) < 4 else {value}
"""
YOURS = "your {} (lesson {}, {}/exercise.py)"
SOFTMAX = YOURS.format("softmax", 4, "04_softmax_and_loss")
REFUSED = {  # name: (lesson, code added after the library's solution, words in the error)
    "a syntax error": (4, "def softmax(x:\n", "exercise.py, line"),
    "an error in the import": (4, "1 / 0\n", "ZeroDivisionError"),
    "an exit": (4, "raise SystemExit(0)\n", "ends Python"),
    "other arguments": (4, "def softmax(z):\n    return z\n", "softmax is called as softmax(x)"),
    "no function": (4, "softmax = 3\n", "softmax is no function"),
    "too deep": (4, f"x = {'-' * 900}1\n", "recursion"),
    "an error": (4, "def softmax(x):\n    return x.no_such_thing\n", SOFTMAX, "failed: AttributeError"),
    "another type": (4, "def softmax(x):\n    return x.astype(float)\n", SOFTMAX, "got float64"),
    "another shape": (4, "def softmax(x):\n    return x[..., :1]\n", SOFTMAX, "y should have shape"),
    "later None": (4, LATER.format(op="softmax_backward", value="None"),
                   "your softmax_backward (lesson 4", ", line ", "returns something else"),
    "later infinite": (4, LATER.format(op="cross_entropy", value="(np.float32(np.inf), right[1])"),
                       "your cross_entropy (lesson 4", ", line ", "returns something else"),
    "weights that are NaN": (8, "def adamw_step(w, *args, **named):\n    w[:] = np.nan\n",
                             "your adamw_step (lesson 8", "w has numbers that are not finite"),
    "a result of what works in place": (8, "def adamw_step(w, *args, **named):\n    return w\n",
                                        "your adamw_step (lesson 8", "in place and must return None"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_function_that_cannot_be_used_is_one_line(workspace, capsys, name):
    number, text, *words = REFUSED[name]
    write(workspace, number, text)
    assert train("--mine", str(number), "--out", "run") == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words) and error.count("\n") == 1 and "blown up" not in error
    assert (workspace / "run").exists() == name.startswith("later")  # other errors come before the first file
    assert all(op.override is None for op in OPS.values())


@pytest.mark.parametrize("numbers, words", [
    ("44", "no lesson '44'"), ("1 2", "no lesson '1 2'"), ("4,,6", "no lesson ''"),
    ("10", "no functions that a model calls"), ("5", "start 5"),
    ("4", "nothing of yours to plug in: lesson 4: not attempted"),
])
def test_lessons_that_cannot_be_used(workspace, refused, numbers, words):
    start_lesson(find_lesson(4), workspace)
    assert words in refused("train", "--data", "text.txt", "--config", "tiny.toml", "--mine", numbers)
    assert not (workspace / "runs").exists()


def test_a_training_that_blows_up_says_which_functions_were_not_the_librarys(workspace, capsys):
    """Every student's function returns finite numbers, but the training diverges."""
    write(workspace, 4, LATER.format(op="cross_entropy_backward", value="np.full_like(right, 1e38)"))
    assert train("--mine", "4", "--out", "a run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "blown up" in error and "smaller --lr" not in error
    assert "cross_entropy_backward" in error.split("yours: ")[1] and "log_softmax" not in error
    assert "`tinyllm check 4`" in error and "`tinyllm blame 'a run'`" in error
    assert main(["blame", "a run"]) == 1
    assert "to blame: your cross_entropy_backward" in capsys.readouterr().out


def test_what_is_not_attempted_is_said(workspace, capsys):
    write(workspace, 4)
    start_lesson(find_lesson(6), workspace)
    assert train("--mine", "4,6", "--mine", "4", "--steps", "1") == 0
    said = capsys.readouterr().out
    assert "lesson 6: not attempted, so the library's: attention, rope_tables, rope" in said
    assert (workspace / "runs/text-nano-mine/run.json").is_file()


TINY = {"preset": "nano", "tokenizer": "char", "model.layers": 1, "train.batch": 2, "train.steps": 1,
        "train.eval_windows": 1, "train.sample_tokens": 1}


def called_by(settings):
    """Return the ops of exercises that one training step of a small model calls, by default a GPT."""
    ops = {task.op for lesson in syllabus() for task in lesson.tasks} & OPS.keys()
    spies = {op: create_autospec(OPS[op].reference, side_effect=OPS[op].reference) for op in ops}
    setup = prepare(make_config(TINY | settings))
    with override(**spies):
        list(setup.train() if setup.start else setup.steps())  # an adapter, or a new model
    return {op for op in ops if spies[op].called}


def test_the_map_says_what_trains_the_functions_of_a_lesson(workspace):
    text = {"data": "text.txt"}
    by_gpt = called_by(text)
    for lesson in syllabus():
        ops = {task.op for task in lesson.tasks if task.kind == "op" and task.name != "add"}
        called = called_by(text | lesson.mine) if lesson.mine else by_gpt
        assert bool(called & ops) == (lesson.mine is not None), lesson.folder
    assert set(find_lesson(12).tasks[0].parts) <= by_gpt
    write(workspace, 13)
    with plugged_in(["13"]) as plugins:
        assert plugins.settings["model.type"] == "llama" and plugins.settings["preset"] == "nano"


def test_the_way_that_lesson_6_shows_into_llama_works(workspace, capsys, monkeypatch):
    write(workspace, 6)
    lesson = (find_lesson(6).path / "lesson.py").read_text("utf-8")
    (code,) = re.findall(r"(?ms)^#     import tinyllm as tl\n.*?(?=^#$)", lesson)
    monkeypatch.syspath_prepend(workspace / "06_attention")
    monkeypatch.setitem(sys.modules, "exercise", None)  # so that the module is removed afterwards
    del sys.modules["exercise"]
    exec(re.sub("(?m)^#     ", "", code), {"np": np})
    assert capsys.readouterr().out.startswith("(1, 16, 65)")


SCALE = "q.shape[3] ** (-0.5)"  # the library's code as ast.unparse writes it
SUMMED = """
first = cross_entropy_backward
def cross_entropy_backward(dloss, logits, targets, *args, **named):
    return first(dloss, logits, targets, *args, **named) * np.float32(targets.size)
"""


def blamed(capsys, code=1):
    """Call `tinyllm blame` -> (the functions to blame, what it printed)."""
    capsys.readouterr()
    assert main(["blame"]) == code
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    return [line.split()[3] for line in said.splitlines() if line.startswith("to blame: ")], said


@pytest.mark.parametrize("options, extra, culprits, words", [
    (["4"], DIAGONAL, ["softmax_backward"], "`tinyllm check 4` says what is wrong with it"),
    (["4,6"], DIAGONAL, ["softmax_backward", "attention"], "`tinyllm check 6`"),
    (["4", "--lr", "1e-6"], SUMMED, ["cross_entropy_backward"], "gradient norm"),
], ids=["one", "several", "a factor that clipping hides from a loss that hardly moves"])
def test_blame_names_the_culprits(workspace, capsys, options, extra, culprits, words):
    write(workspace, 4, extra)
    write(workspace, 6, change=lambda source: source.replace(SCALE, "1.0"))
    train("--mine", *options)
    names, said = blamed(capsys)
    assert names == culprits and words in said


def test_blame_names_a_function_that_fails_as_it_is_now(workspace, capsys):
    write(workspace, 4)
    train("--mine", "4", "--steps", "3")
    train("--steps", "1")  # a newer run, without functions of the student
    write(workspace, 4, "def softmax_backward(dy, y):\n    return dy[99]\n")
    names, said = blamed(capsys)
    assert names == ["softmax_backward"] and "IndexError" in said


def test_blame_needs_a_run_with_functions_of_the_students(workspace, refused):
    assert "there is no run of `tinyllm train --mine`" in refused("blame")
    train("--out", "ours", "--steps", "1")
    assert "trained by the library alone" in refused("blame", "ours")
