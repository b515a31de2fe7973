"""`train --mine` and `blame`: a student's functions in the real model, and which of them spoils it."""

import functools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plugin_run import LATER, train, write

from tinyllm.cli import main
from tinyllm.course import plugins
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workspace import StudentProgress, start_lesson
from tinyllm.ops.registry import OPS, override
from tinyllm.runs import make_config, prepare


def last_loss(run):
    return json.loads(Path(run, "log.jsonl").read_text().splitlines()[-1])["val_loss"]


def test_a_right_exercise_trains_as_the_library_does(workspace, capsys, printed):
    write(workspace, 4)
    assert train("--mine", "4", "--out", "mine") == 0
    said = capsys.readouterr().out
    assert "yours: softmax (lesson 4), softmax_backward (lesson 4)" in said
    assert "never called by this training: log_softmax" in said
    assert train("--out", "ours") == 0
    assert all(op.override is None for op in OPS.values())
    assert last_loss("mine") == pytest.approx(last_loss("ours"), abs=1e-5)
    record = json.loads((workspace / "mine/run.json").read_text())["notes"]["replaced_ops"]
    assert [part["op"] for part in record] == [task.name for task in find_lesson(4).tasks]
    assert json.loads((workspace / "ours/run.json").read_text())["notes"] == {}
    assert "These ops were replaced: softmax, softmax_" in (workspace / "mine/report.html").read_text()
    assert "replaced" not in (workspace / "ours/report.html").read_text()
    assert "nothing to blame" in printed("blame", "mine")


def test_several_lessons_and_what_is_not_attempted(workspace, capsys):
    write(workspace, 4)
    start_lesson(find_lesson(6), workspace)
    assert train("--mine", "4,6", "--mine", "4") == 0
    out = capsys.readouterr().out
    assert "lesson 6: not attempted, so the library's: attention, rope_tables, rope" in out
    assert (workspace / "runs/text-nano-mine/run.json").is_file()


BROKEN = {
    "a syntax error": (lambda s: s + "def softmax(x:\n", "exercise.py, line"),
    "an error in the import": (lambda s: s + "1 / 0\n", "ZeroDivisionError"),
    "an exit": (lambda s: s + "raise SystemExit(0)\n", "ends Python"),
    "other arguments": (lambda s: s + "def softmax(z):\n    return z\n", "softmax is called as softmax(x)"),
    "no function": (lambda s: s + "softmax = 3\n", "softmax is no function"),
    "deep": (lambda s: f"{s}x = {'-' * 900}1\n", "recursion"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_cannot_be_used_is_one_line_and_nothing_is_written(workspace, capsys, case):
    change, words = BROKEN[case]
    write(workspace, 4, change=change)
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (workspace / "run").exists()
    assert all(op.override is None for op in OPS.values())


@pytest.mark.parametrize("numbers, words", [
    ("44", "no lesson '44'"), ("4,,6", "by number"), ("10", "no functions that a model calls"),
    ("5", "start 5"), ("4", "nothing of yours to plug in: fill in a function of"),
])
def test_lessons_that_cannot_be_used(workspace, capsys, numbers, words):
    start_lesson(find_lesson(4), workspace)
    assert train("--mine", numbers) == 2
    captured = capsys.readouterr()
    assert words in captured.err + captured.out and captured.err.count("\n") == 1
    assert not (workspace / "runs").exists()


@pytest.mark.parametrize("body, words", [
    ("return x.no_such_thing", "failed: AttributeError"),
    ("return None", "returns something else"),
    ("return x.astype(np.float64)", "y should be float32, got float64"),
    ("return x[..., :1]", "y should have shape"),
])
def test_a_function_that_fails_in_training_is_named_with_its_lesson(workspace, capsys, body, words):
    write(workspace, 4, f"def softmax(x):\n    {body}\n")
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error
    assert "your softmax (lesson 4, 04_softmax_and_loss/exercise.py)" in error
    assert not (workspace / "run").exists()  # or the next try would find the name taken


@pytest.mark.parametrize("op, value", [
    ("softmax_backward", "None"), ("cross_entropy", "(np.float32(np.inf), right[1])"),
    ("softmax", "right.astype(float)"),
])
def test_a_function_that_goes_wrong_later_is_named(workspace, capsys, op, value):
    write(workspace, 4, LATER.format(op=op, value=value))
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "blown up" not in error
    assert re.search(rf"your {op} \(lesson 4, .*exercise.py\), line \d+, returns something else", error)


def test_an_optimizer_that_spoils_the_weights_is_named(workspace, capsys):
    write(workspace, 8, "def adamw_step(w, *args, **named):\n    w[:] = np.nan\n")
    assert train("--mine", "8") == 2
    error = capsys.readouterr().err
    assert "your adamw_step (lesson 8" in error and "w has numbers that are not finite" in error
    write(workspace, 8, "def adamw_step(w, *args, **named):\n    return w\n")
    assert train("--mine", "8") == 2
    assert "works in place and must return None" in capsys.readouterr().err


@pytest.mark.signals
@pytest.mark.parametrize("when", ["while True: pass", "if len(calls) > 3: raise KeyboardInterrupt"])
def test_ctrl_c_inside_a_function_says_where(workspace, capsys, monkeypatch, when):
    """An endless loop in the step that is tried first, and Ctrl-C twice in a later one."""
    loop = when.replace("pass", "raise KeyboardInterrupt")  # what Python raises in the line at hand
    write(workspace, 4, f"calls = []\nfirst = softmax\ndef softmax(x):\n    calls.append(1)\n    {loop}\n"
                   "    return first(x)\n")
    assert train("--mine", "4") == 130
    lines = (workspace / "04_softmax_and_loss/exercise.py").read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "raise KeyboardInterrupt" in line)
    place = f"your softmax (lesson 4, 04_softmax_and_loss/exercise.py), line {number}"
    assert f"stopped inside {place}\n" in capsys.readouterr().err


SUMMED = """
mean = cross_entropy
def cross_entropy(logits, targets, ignore_index=-100):
    loss, lse = mean(logits, targets, ignore_index)
    return loss * np.float32(1000), lse
"""


def test_a_loss_too_large_for_a_perplexity_ends_as_usual(workspace, capsys):
    write(workspace, 4, SUMMED)
    assert train("--mine", "4", "--out", "a run") == 0
    assert train("--out", "a run", "--resume") == 0
    said = capsys.readouterr().out
    assert said.count("perplexity inf") == 2 and said.count("tinyllm blame 'a run'") == 2
    assert "open 'a run/report.html' in a browser" in said


def test_a_training_that_blows_up_says_which_functions_were_not_the_librarys(workspace, capsys):
    """Every function is finite by itself; what the library makes of their numbers is not."""
    write(workspace, 4, LATER.format(op="cross_entropy_backward", value="np.full_like(right, 1e38)"))
    assert train("--mine", "4", "--out", "a run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "blown up" in error and "smaller --lr" not in error
    assert "cross_entropy_backward" in error.split("yours: ")[1] and "log_softmax" not in error
    assert "`tinyllm check 4`" in error and "`tinyllm blame 'a run'`" in error
    assert main(["blame", "a run"]) == 1
    assert "to blame: your cross_entropy_backward" in capsys.readouterr().out


def test_functions_that_no_check_has_passed_are_said(workspace, capsys):
    write(workspace, 4)
    StudentProgress(workspace).save()
    progress = StudentProgress(workspace)
    for task, state in (("softmax", "passed"), ("cross_entropy", "failed"), ("log_softmax", ["damaged"])):
        progress.task(find_lesson(4), task)["state"] = state
    progress.save()
    train("--mine", "4")
    words = " ".join(capsys.readouterr().out.split())
    names = words.split("`tinyllm check` has not passed these yet: ")[1]
    assert names.startswith("softmax_backward, log_softmax, cross_entropy (failed), cross_entropy_b")
    for task in find_lesson(4).tasks:
        progress.task(find_lesson(4), task.name)["state"] = "passed"
    progress.save()
    train("--mine", "4")
    assert "has not passed" not in capsys.readouterr().out


def test_nothing_left_to_train_is_said_as_such(workspace, capsys, printed):
    write(workspace, 4)
    train("--mine", "4", "--out", "run")
    capsys.readouterr()
    said = printed("train", "--out", "run", "--resume")
    assert "yours: softmax (lesson 4)" in said  # a run that is resumed knows its lessons
    assert "so none of your functions was called" in said
    assert "were called:" not in said and "never called" not in said


@pytest.mark.parametrize("mine", [{}, [{"op": 1, "lesson": "4", "sha256": ""}]])
def test_a_config_that_remembers_nonsense_of_functions_is_damaged(workspace, capsys, mine):
    write(workspace, 4)
    train("--mine", "4", "--out", "run")
    path = workspace / "run/run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": {"replaced_ops": mine}}))
    capsys.readouterr()
    for words in (["blame", "run"], ["train", "--out", "run", "--resume"]):
        assert main(words) == 2
        assert "run.json is damaged: its notes.replaced_ops" in capsys.readouterr().err


def test_what_a_gpt_does_not_call_is_told_with_the_reason(workspace, capsys):
    write(workspace, 4)
    write(workspace, 6)
    train("--mine", "4,6", "--out", "run")
    said = " ".join(capsys.readouterr().out.split())
    assert "rope_tables, rope are for models of type llama" in said
    assert main(["trace", "--diff", "run", "--mine", "4,6", "--prompt", "the cat"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "never called by a model that reads a text: softmax, softmax_backward, log_softmax" in said
    assert "softmax is called inside the library's attention, and that is yours here" in said
    assert "rope_tables, rope are for models of type llama" in said


TINY = {"preset": "nano", "tokenizer": "char", "model.layers": 1, "train.batch": 2, "train.steps": 1}


@functools.cache  # several lessons train the same
def called_by(*settings):
    """The ops of exercises that one step of a small training calls, a GPT's by default; settings: pairs."""
    called = set()

    def spy(op):
        @functools.wraps(OPS[op].reference)
        def function(*args, **named):
            called.add(op)
            return OPS[op].reference(*args, **named)

        return function

    ops = {task.op for lesson in syllabus() for task in lesson.tasks} & OPS.keys()
    with override(**{op: spy(op) for op in ops}):
        next(iter(prepare(make_config(TINY | dict(settings))).steps()))
    return called


def test_the_map_says_what_trains_the_functions_of_a_lesson_and_which_family_calls_them():
    by_gpt = called_by()
    for lesson in syllabus():
        ops = {task.op: task.model for task in lesson.tasks if task.kind == "op" and task.name != "add"}
        called = called_by(*lesson.mine.items()) if lesson.mine else by_gpt
        assert bool(called & ops.keys()) == (lesson.mine is not None), lesson.folder
        for model in {*ops.values()} - {""}:
            new = called_by(*((lesson.mine or {}) | {"model.type": model}).items()) - by_gpt
            assert {op for op in ops if ops[op] == model} <= new, lesson.folder
            assert "" not in {ops[op] for op in new & ops.keys()}, lesson.folder


def test_a_lesson_about_llama_trains_a_llama(workspace, capsys, monkeypatch):
    write(workspace, 6)
    there = replace(find_lesson(6), mine={"model.type": "llama", "model.kv_heads": 1})
    monkeypatch.setattr(plugins, "find_lesson", lambda n: there)
    settings = (workspace / "tiny.toml").read_text()
    (workspace / "tiny.toml").write_text(re.sub("(?m)^model.dropout.*$", "", settings))
    assert train("--mine", "6", "--out", "run") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"called: attention \d+ times, rope_tables \d+ times, rope \d+ times", said)
    assert json.loads((workspace / "run/run.json").read_text())["settings"]["model"]["type"] == "llama"


def test_the_way_that_lesson_6_shows_into_llama_works(workspace, capsys, monkeypatch):
    write(workspace, 6)
    lesson = (find_lesson(6).path / "lesson.py").read_text("utf-8")
    (code,) = re.findall(r"(?ms)^#     import tinyllm as tl\n.*?(?=^#$)", lesson)
    monkeypatch.syspath_prepend(workspace / "06_attention")
    monkeypatch.setitem(sys.modules, "exercise", None)  # what stands there afterwards is taken away
    del sys.modules["exercise"]
    exec(re.sub("(?m)^#     ", "", code), {"np": np})
    assert capsys.readouterr().out.startswith("(1, 16, 65)")
