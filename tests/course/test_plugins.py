"""`train --mine` and `blame`: a student's functions in the real model, and which of them spoils it."""

import functools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from plugin_run import DIAGONAL, LATER, set_up, train, write

from tinyllm.cli import main
from tinyllm.course.plugins import LLAMAS
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.course.workspace import Progress, start_lesson
from tinyllm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinyllm.ops.registry import OPS, override

REPEATS = "def softmax(x):\n    return np.full_like(x, 1 / max(x.shape[-1], 1))\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A workspace as the folder at hand, with a text and settings for a tiny run."""
    return set_up(tmp_path, monkeypatch)


def last_loss(run):
    return json.loads(Path(run, "log.jsonl").read_text().splitlines()[-1])["val_loss"]


def test_a_right_exercise_trains_as_the_library_does(here, capsys):
    write(here, 4)
    assert train("--mine", "4", "--out", "mine") == 0
    said = capsys.readouterr().out
    assert "yours: softmax (lesson 4), softmax_backward (lesson 4)" in said
    assert "never called by this training: log_softmax" in said
    assert train("--out", "ours") == 0
    assert all(op.override is None for op in OPS.values())
    assert last_loss("mine") == pytest.approx(last_loss("ours"), abs=1e-5)
    record = json.loads((here / "mine/run.json").read_text())["notes"]["replaced_ops"]
    assert [part["op"] for part in record] == [task.name for task in find_lesson(4).tasks]
    assert json.loads((here / "ours/run.json").read_text())["notes"] == {}
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
    assert (here / "runs/text-nano-mine/run.json").is_file()


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
    assert all(op.override is None for op in OPS.values())


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


@pytest.mark.signals
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
    assert f"stopped inside {place}\n" in capsys.readouterr().err


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


def test_a_training_that_blows_up_says_which_functions_were_not_the_librarys(here, capsys):
    """Every function is finite by itself; what the library makes of their numbers is not."""
    write(here, 4, LATER.format(op="cross_entropy_backward", value="np.full_like(right, 1e38)"))
    assert train("--mine", "4", "--out", "a run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "blown up" in error and "smaller --lr" not in error
    assert "cross_entropy_backward" in error.split("yours: ")[1] and "log_softmax" not in error
    assert "`tinyllm check 4`" in error and "`tinyllm blame 'a run'`" in error
    assert main(["blame", "a run"]) == 1
    assert "to blame: your cross_entropy_backward" in capsys.readouterr().out


def test_a_first_step_that_blows_up_names_the_check(here, capsys):
    huge = "first = cross_entropy_backward\ndef cross_entropy_backward(*args, **named):\n"
    write(here, 4, huge + "    return np.full_like(first(*args, **named), 1e38)\n")
    assert train("--mine", "4", "--out", "run") == 2
    error = capsys.readouterr().err
    assert "cross_entropy_backward" in error and "`tinyllm check 4`" in error and "tinyllm blame" not in error
    assert not (here / "run").exists()


def test_functions_that_no_check_has_passed_are_said(here, capsys):
    write(here, 4)
    Progress(here).save()
    progress = Progress(here)
    for task, state in (("softmax", "passed"), ("cross_entropy", "failed"), ("log_softmax", ["odd"])):
        progress.task(find_lesson(4), task)["state"] = state
    progress.save()
    train("--mine", "4")
    words = " ".join(capsys.readouterr().out.split())
    names = words.split("`tinyllm check` has not passed these yet: ")[1]
    assert names.startswith("softmax_backward, log_softmax (failed), cross_entropy (failed), cross_entropy_b")
    for task in find_lesson(4).tasks:
        progress.task(find_lesson(4), task.name)["state"] = "passed"
    progress.save()
    train("--mine", "4")
    assert "has not passed" not in capsys.readouterr().out


def test_nothing_left_to_train_is_said_as_such(here, capsys):
    write(here, 4)
    train("--mine", "4", "--out", "run")
    capsys.readouterr()
    assert main(["train", "--out", "run", "--resume"]) == 0
    said = capsys.readouterr().out
    assert "there was nothing left to train, so none of yours ran" in said
    assert "yours ran:" not in said and "never called" not in said


def test_a_report_says_whose_functions_ran(here, capsys):
    write(here, 4)
    train("--mine", "4", "--out", "run")
    assert "These ops were replaced: softmax, softmax_" in (here / "run/report.html").read_text()
    train("--out", "ours")
    assert "replaced" not in (here / "ours/report.html").read_text()


@pytest.mark.parametrize("mine", [{}, [3], [{"op": "softmax"}], [{"op": 1, "lesson": "4", "sha256": ""}]])
def test_a_config_that_remembers_nonsense_of_functions_is_damaged(here, capsys, mine):
    write(here, 4)
    train("--mine", "4", "--out", "run")
    path = here / "run/run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"notes": {"replaced_ops": mine}}))
    capsys.readouterr()
    for words in (["blame", "run"], ["train", "--out", "run", "--resume"]):
        assert main(words) == 2
        assert "run.json is damaged: notes.replaced_ops" in capsys.readouterr().err


def test_what_a_gpt_does_not_call_is_told_with_the_reason(here, capsys):
    write(here, 4)
    write(here, 6)
    train("--mine", "4,6", "--out", "run")
    said = " ".join(capsys.readouterr().out.split())
    assert "rope_tables, rope are LLaMA's" in said
    assert main(["trace", "--diff", "run", "--mine", "4,6", "--prompt", "the cat"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "never called by a model that reads a text: softmax, softmax_backward, log_softmax" in said
    assert "softmax is called inside the library's attention, and that is yours here" in said
    assert "rope_tables, rope are LLaMA's" in said


def called_by(make, config):
    """The ops among all tasks that a model calls while it is made and trained."""
    called = set()

    def spy(op):
        @functools.wraps(OPS[op].reference)
        def function(*args, **named):
            called.add(op)
            return OPS[op].reference(*args, **named)

        return function

    tokens = np.zeros((1, 8), int)
    ops = {task.op for lesson in syllabus() for task in lesson.tasks} & OPS.keys()
    with override(**{op: spy(op) for op in ops}):
        make(config).loss(tokens, tokens).backward()
    return called


def test_llamas_functions_are_those_that_only_llama_calls():
    sizes = {"vocab_size": 9, "context": 8, "layers": 1, "heads": 2, "width": 8}
    of_gpt = called_by(GPT, GPTConfig(**sizes))
    of_llama = called_by(Llama, LlamaConfig(kv_heads=1, hidden=8, **sizes))
    assert of_llama - of_gpt == LLAMAS


def test_the_way_that_lesson_6_shows_into_llama_works(here, capsys, monkeypatch):
    write(here, 6)
    lesson = (find_lesson(6).path / "lesson.py").read_text("utf-8")
    (code,) = re.findall(r"(?ms)^#     import tinyllm as tl\n.*?(?=^#$)", lesson)
    monkeypatch.syspath_prepend(here / "06_attention")
    monkeypatch.setitem(sys.modules, "exercise", None)  # what stands there afterwards is taken away
    del sys.modules["exercise"]
    exec(re.sub("(?m)^#     ", "", code), {"np": np})
    assert capsys.readouterr().out.startswith("(1, 16, 65)")


def test_a_run_that_is_resumed_knows_its_lessons(here, capsys):
    write(here, 4)
    train("--mine", "4", "--out", "run")
    capsys.readouterr()
    assert main(["train", "--out", "run", "--resume", "--steps", "14"]) == 0
    assert "yours: softmax (lesson 4)" in capsys.readouterr().out
    assert json.loads((here / "run/run.json").read_text())["notes"]["replaced_ops"]
