"""Check lesson 12: exercises are gathered in one file and judged by a training; the model writes a story.

`tinyllm course selftest` tries the wrong answers, such as hard-coded losses.
"""

import numpy as np
import pytest
from helpers import refuses
from tiny_run import write_text

from tinyllm.course import answer_keys, capstone
from tinyllm.course.capstone import ALONE, MARK, gather, parts_in
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workspace import start_lesson
from tinyllm.ops.registry import OPS

(TASK,) = find_lesson(12).tasks
HASTY = "def lr_schedule(step, steps, lr, warmup, min_lr_ratio):\n    return lr\n"
NORMED = "def grad_norm(grads):\n    return 2.0\n"
LATER = """
first, calls = layernorm_backward, []
def layernorm_backward(*args):
    calls.append(1)
    return first(*args) if len(calls) < 4 else "x"
"""
SLOW = """
import time
fast = {op}
def {op}(*args):
    end = time.process_time() + 0.5
    while {when} and time.process_time() < end: pass
    return fast(*args)
"""


def source(*ops):
    """Return the library's own code of some ops, or of all parts."""
    return answer_keys.parts({op: OPS[op].reference for op in ops or capstone.PARTS})


@pytest.fixture(scope="module", autouse=True)
def short(tmp_path_factory):
    """Make the training shorter and its text smaller; its losses are still exact numbers."""
    text = write_text(tmp_path_factory.mktemp("text") / "text.txt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capstone, "SETTINGS", capstone.SETTINGS | {"train.steps": 6, "data": str(text)})
        capstone.reference.cache_clear()
        yield
    capstone.reference.cache_clear()


def test_the_librarys_own_parts_pass_on_a_graders_hidden_seed(judge):
    verdict = judge(source(), TASK, cpu_seconds=4, variant=7)
    assert capstone.reference.cache_info().currsize == 1
    assert (capstone.reference(7).right != capstone.reference(0).right).all()
    assert (verdict.state, verdict.broken, verdict.message) == ("passed", (), "")
    assert [*verdict.held] == [*map(ALONE.format, capstone.PARTS), capstone.TRAINED]
    assert all(op.override is None for op in OPS.values())


STUB = (find_lesson(12).path / "exercise.py").read_text("utf-8")


@pytest.mark.parametrize("text, state, message, held", [
    (STUB, "not_attempted", "", []), ("def (", "blocked", "SyntaxError", []),
    (source("softmax", "adamw_step"), "failed", "still the library's: softmax_backward, cross_",
     ["softmax", "adamw_step"]),
    (source("softmax") + HASTY + NORMED, "failed", "grad_norm is wrong", ["softmax"]),
    (source() + LATER, "failed", "your layernorm_backward", ["linear"]),
    (source() + SLOW.format(op="lr_schedule", when=True), "timed_out", "ran for more than", ["linear"]),
    (source() + SLOW.format(op="gelu_tanh", when="args[0].size > 9999"), "timed_out", "your gelu_tanh",
     capstone.PARTS),
], ids=["stub", "no file", "some parts", "wrong part", "wrong later", "slow part", "slow in training"])
def test_what_is_missing_or_wrong_is_said(judge, text, state, message, held):
    """The message names a wrong function before missing ones."""
    verdict = judge(text, TASK)
    assert verdict.state == state and message in verdict.message and "\n" not in verdict.message
    assert capstone.TRAINED in verdict.broken and {*map(ALONE.format, held)} <= {*verdict.held}


@pytest.fixture
def solved(tmp_path):
    """Return a workspace with lessons 4, 5, 6 and 8 solved, and the capstone started."""
    (tmp_path / ".tinyllm").mkdir()
    for number in (4, 5, 6, 8, 12):
        start_lesson(find_lesson(number), tmp_path)
        if own := [op for op, n in capstone.PARTS.items() if n == number]:
            (tmp_path / find_lesson(number).folder / "exercise.py").write_text(source(*own))
    return tmp_path


def test_the_exercises_are_gathered_and_work_of_the_students_is_left_alone(solved):
    folder = solved / "12_capstone"
    assert "lessons 4, 5, 6, 8 were gathered" in gather(folder)
    parts, missing = parts_in(folder)
    assert [part.op for part in parts] == list(capstone.PARTS) and not missing
    first = (folder / "exercise.py").read_text()
    assert first.startswith(MARK) and "were gathered" in gather(folder)
    assert (folder / "exercise.py").read_text() == first
    (folder / "exercise.py").write_text(first + "# mine\n")
    assert "was left" in gather(folder)
    assert (folder / "exercise.py").read_text().endswith("# mine\n")


def test_exercises_of_unusual_making_are_gathered_and_clashes_are_one_line(solved):
    """Exercises may have a class of the student's, a byte order mark, and a function written twice."""
    folder = solved / "12_capstone"
    (solved / "06_attention/exercise.py").write_text(find_lesson(6).starter)
    for number in (4, 8):
        path = solved / find_lesson(number).folder / "exercise.py"
        own = "def softmax(x):\n    return 1\n" if number == 4 else ""
        text = f"{path.read_text()}\n@dataclass\nclass Box{number}:\n    size: int = {number}\n"
        path.write_text(f"\ufeff{own}from dataclasses import dataclass\n{text}", "utf-8")
    assert "lessons 4, 5, 8 were gathered" in gather(folder)
    parts, missing = parts_in(folder)
    assert missing == ["attention"] and parts[0].op == "softmax"
    assert np.isclose(parts[0].function(np.zeros(2, np.float32)), 0.5).all()  # the last definition counts
    with open(solved / "08_training/exercise.py", "a") as f:
        f.write("\ndef softmax(x):\n    return x\n")
    refuses(r"08_training.exercise.py: softmax is something else", gather, folder)


TINY = {"train.steps": 6, "train.eval_every": 6, "train.sample_every": 6, "train.sample_tokens": 9,
        "model.width": 16, "train.batch": 2, "tokenizer": "bpe:280"}


def test_the_parts_tell_a_story_and_their_losses_are_the_librarys(solved, monkeypatch):
    """The lesson once ended with only a loss: the model wrote nothing, and nothing was drawn."""
    monkeypatch.setattr(capstone, "STORY", capstone.STORY | TINY | {"data": capstone.SETTINGS["data"]})
    gather(solved / "12_capstone")
    parts, _ = parts_in(solved / "12_capstone")
    heard = []
    losses, text = capstone.tell(parts, lambda *each: heard.append(each))
    assert heard == list(enumerate(losses, 1)) and len(losses) == 6 and all(part.calls for part in parts)
    assert text.startswith("Once upon a time") and len(text) > len("Once upon a time")
    assert losses[0] < 0.9 * np.log(280)  # nats per character, not per token
    assert losses == pytest.approx(capstone.tell()[0], abs=1e-3)
