"""Lesson 12: the exercises gathered in one file, judged by a training, and the report that is handed in."""

import json

import pytest

from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS
from tinyllm.teach import capstone
from tinyllm.teach.checker import judge_task
from tinyllm.teach.gather import MARK, gather, parts_in
from tinyllm.teach.mine import import_file, load_parts
from tinyllm.teach.solved import STANDARD, collect
from tinyllm.teach.syllabus import find_lesson
from tinyllm.teach.workspace import start_lesson

(TASK,) = find_lesson(12).tasks
HASTY = "def lr_schedule(step, steps, lr, warmup, min_lr_ratio):\n    return lr\n"


LATER = """
first, calls = layernorm_backward, []
def layernorm_backward(*args):
    calls.append(1)
    return first(*args) if len(calls) < 4 else "x"
"""


def source(*ops):
    """The library's own code of some ops, or of all parts."""
    found = {}
    for op in ops or capstone.PARTS:
        collect(OPS[op].reference, found)
    return STANDARD + "\n\n".join(reversed(found.values())) + "\n\n"


@pytest.fixture(scope="module", autouse=True)
def short():
    """A shorter training, whose losses are as exact."""
    before = dict(capstone.SETTINGS)
    capstone.SETTINGS["train.steps"] = 12
    caches = (capstone.experiment, capstone.expected, capstone.tolerance)
    for cache in caches:
        cache.cache_clear()
    yield
    capstone.SETTINGS.update(before)
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def judge(zygote, tmp_path, monkeypatch):
    """Judge an exercise; the range is that of twelve steps."""
    monkeypatch.setattr(capstone, "limits", lambda: (3.3, 4.2))

    def judge(text, variant=0):
        (tmp_path / "exercise.py").write_text(text)
        return judge_task(TASK, lambda: zygote.start(tmp_path / "exercise.py"), tmp_path, variant=variant)

    return judge


def test_the_librarys_own_parts_pass_and_the_stub_is_not_attempted(judge):
    verdict = judge(source())
    assert (verdict.state, verdict.broken, verdict.message) == ("passed", (), "")
    assert len(verdict.held) == len(capstone.PARTS) + 2 * len(capstone.seeds(0))
    assert judge((find_lesson(12).path / "exercise.py").read_text()).state == "not_attempted"
    assert judge("def (").state in ("failed", "blocked")
    assert all(op.yours is None for op in OPS.values())


def test_a_missing_part_is_named(judge):
    verdict = judge(source("softmax", "adamw_step"))
    assert verdict.state == "failed" and "still the library's: softmax_backward" in verdict.message
    assert "right with your own softmax" in verdict.held
    right = [title for title in (*verdict.held, *verdict.broken) if title.startswith("right ")]
    assert len(right) == len(capstone.PARTS)  # what a course may give points for in part
    assert [title for title in right if title in verdict.held] == [
        "right with your own softmax", "right with your own adamw_step",
    ]  # fmt: skip


@pytest.mark.parametrize("extra, words", [
    (HASTY, "is right"),
    ("def attention(q, k, v, causal=True, lengths=None):\n    return v, v\n", "your attention (lesson 12"),
    ("def softmax_backward(dy, y):\n    return dy[99]\n", "IndexError"),
    ("def gelu_tanh(x):\n    return x.astype(np.float64)\n", "float64"),
    ("def adamw_step(*args, **kwargs):\n    pass\n", "is right"),
    ("def embedding(w, ids):\n    import os\n    os._exit(0)\n", "ended"),
    (LATER, "ends at step"),
])  # fmt: skip
def test_a_wrong_part_is_seen(judge, extra, words):
    verdict = judge(source() + extra)
    assert verdict.state == "failed" and words in verdict.message and "\n" not in verdict.message


FAKES = """
LOSSES, calls = {}, []
def softmax(x): return x * 0
def softmax_backward(dy, y): return dy * 0
def cross_entropy(logits, targets, ignore_index=-100):
    calls.append(1)
    return np.float32(LOSSES[len(calls) - 1]), logits[..., 0] * 0
def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100): return logits * 0
def linear(x, w, b=None): return np.zeros((*x.shape[:-1], w.shape[-1]), np.float32)
def gelu_tanh(x): return x * 0
def embedding(w, ids): return w[ids]
def layernorm(x, w, b, eps=1e-5): return x * 0, x[..., 0] * 0, x[..., 0] * 0
def layernorm_backward(dy, x, w, mean, rstd): return dy * 0, w * 0, w * 0
def attention(q, k, v, causal=True, lengths=None): return q * 0, q[..., 0].swapaxes(1, 2) * 0
def adamw_step(*args, **kwargs): pass
def grad_norm(grads): return 1.0
def lr_schedule(step, steps, lr, warmup, min_lr_ratio): return lr
"""


def test_losses_learnt_by_heart_earn_nothing(judge):
    """Functions that compute nothing, and a loss that repeats the library's with a seed that is known."""
    verdict = judge(STANDARD + FAKES.format(list(capstone.expected(0))), variant=7)
    assert verdict.state == "failed" and "with a hidden seed" in verdict.message
    assert not [title for title in verdict.held if title.startswith("right ")]
    honest = judge(source(), variant=7)
    assert honest.state == "passed" and not [title for title in honest.held if "7" in title]


def test_a_slow_part_is_timed_out(judge, monkeypatch):
    monkeypatch.setattr(capstone, "SECONDS", 0.5)
    slow = "import time\nfast = lr_schedule\n"
    slow += "def lr_schedule(*args):\n    time.sleep(0.3)\n    return fast(*args)\n"
    assert judge(source() + slow).state == "timed_out"


@pytest.fixture
def workspace(tmp_path):
    """Lessons 4, 5, 6 and 8 solved, and the capstone started."""
    for number in (4, 5, 6, 8, 12):
        start_lesson_in(tmp_path, number)
    return tmp_path


def start_lesson_in(folder, number):
    lesson = find_lesson(number)
    (folder / ".tinyllm").mkdir(exist_ok=True)
    start_lesson(lesson, folder)
    own = [op for op, n in capstone.PARTS.items() if n == number]
    if own:
        (folder / lesson.folder / "exercise.py").write_text(source(*own))


def test_the_exercises_are_gathered_and_work_of_the_students_is_left_alone(workspace):
    folder = workspace / "12_capstone"
    assert "lessons 4, 5, 6, 8 were gathered" in gather(folder)
    parts, missing = parts_in(folder)
    assert [part.op for part in parts] == list(capstone.PARTS) and not missing
    first = (folder / "exercise.py").read_text()
    assert first.startswith(MARK) and "were gathered" in gather(folder)
    assert (folder / "exercise.py").read_text() == first
    (folder / "exercise.py").write_text(first + "# mine\n")
    assert "was left" in gather(folder)
    assert (folder / "exercise.py").read_text().endswith("# mine\n")


def test_stubs_are_not_gathered_and_clashes_are_one_line(workspace):
    folder = workspace / "12_capstone"
    start = find_lesson(6).path / "exercise.py"
    (workspace / "06_attention/exercise.py").write_text(start.read_text())
    gather(folder)
    assert parts_in(folder)[1] == ["attention"]
    with open(workspace / "08_training/exercise.py", "a") as f:
        f.write("\ndef softmax(x):\n    return x\n")
    with pytest.raises(UserError, match=r"08_training.exercise.py, line \d+: softmax is something else"):
        gather(folder)


def test_exercises_of_unusual_making_are_gathered(workspace):
    """A class of one's own, a mark of the bytes' order, imports from the future, two lines of one number."""
    for number, scale in ((4, 1), (8, 2)):
        path = workspace / find_lesson(number).folder / "exercise.py"
        text = path.read_text().replace("import math\n", "import math\nif False:\n    pass\n", 1)
        text = text.replace("if False", f"if {scale} < 1")
        own = "from __future__ import annotations\n" if number == 8 else ""
        own += "from dataclasses import dataclass\n"
        text += f"\n@dataclass\nclass Box{number}:\n    size: int = {scale}\n"
        path.write_text("\ufeff" + own + ("" if number == 8 else "\n") + text, "utf-8")
    folder = workspace / "12_capstone"
    gather(folder)
    parts, missing = parts_in(folder)
    assert [part.op for part in parts] == list(capstone.PARTS) and not missing
    for number in (4, 8):
        path = workspace / find_lesson(number).folder / "exercise.py"
        path.write_text(path.read_text("utf-8").replace(f"Box{number}", "Box"), "utf-8")
    with pytest.raises(UserError, match="Box is something else in an earlier lesson"):
        gather(folder)


def test_a_mark_of_the_bytes_order_is_no_error(workspace):
    path = workspace / find_lesson(4).folder / "exercise.py"
    path.write_text("\ufeff" + path.read_text("utf-8"), "utf-8")
    assert load_parts([find_lesson(4)], workspace)[0][0].op == "softmax"


def test_each_lesson_has_its_own_helper(workspace):
    for number, value in ((4, 1), (5, 2)):
        here = workspace / find_lesson(number).folder
        (here / "helper.py").write_text(f"VALUE = {value}\n")
        (here / "exercise.py").write_text("from helper import VALUE\n")
        assert value == import_file(here / "exercise.py").VALUE


def test_the_report_says_what_was_run_and_is_the_same_every_time(workspace, monkeypatch):
    monkeypatch.setattr(capstone, "limits", lambda: (3.3, 4.2))
    folder = workspace / "12_capstone"
    gather(folder)
    report = capstone.hand_in(folder, *parts_in(folder))
    first = [(folder / name).read_bytes() for name in ("report.json", "report.md")]
    assert report == json.loads(first[0]) and report["reached"] is True
    assert all(run["final_loss"] == run["library"] for run in report["runs"])
    assert all(len(run["losses"]) == 12 for run in report["runs"])
    assert {part["op"] for part in report["parts"]} == set(capstone.PARTS)
    assert "| 0 | 4.0614 |" in first[1].decode()
    capstone.hand_in(folder, *parts_in(folder))
    assert [(folder / name).read_bytes() for name in ("report.json", "report.md")] == first
    with open(folder / "exercise.py", "a") as f:
        f.write("\n" + HASTY)
    report = capstone.hand_in(folder, *parts_in(folder))
    assert any("is right" in run["remark"] for run in report["runs"])
