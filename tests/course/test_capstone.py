"""Lesson 12: the exercises gathered in one file, judged by a training, and the report that is handed in."""

import json

import pytest

from tinyllm.course import capstone
from tinyllm.course.assemble_capstone import MARK, gather, parts_in
from tinyllm.course.classroom import capstone_answers as known
from tinyllm.course.plugins import PartFailure, load_parts
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workspace import start_lesson
from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS

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
    return known.parts({op: OPS[op].reference for op in ops or capstone.PARTS})


@pytest.fixture(scope="module", autouse=True)
def short():
    """A shorter training, whose losses are as exact."""
    before = dict(capstone.SETTINGS)
    capstone.SETTINGS["train.steps"] = 12
    caches = (capstone.setup, capstone.expected, capstone.tolerance)
    for cache in caches:
        cache.cache_clear()
    yield
    capstone.SETTINGS.update(before)
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def judge_run(judge, monkeypatch):
    """Judge an exercise; the range is that of twelve steps."""
    monkeypatch.setattr(capstone, "limits", lambda: (3.3, 4.2))
    return lambda text, cpu_seconds=4, **options: judge(text, TASK, cpu_seconds=cpu_seconds, **options)


def test_the_librarys_own_parts_pass_and_the_stub_is_not_attempted(judge_run):
    verdict = judge_run(source())
    assert (verdict.state, verdict.broken, verdict.message) == ("passed", (), "")
    assert len(verdict.held) == len(capstone.PARTS) + 2 * len(capstone.seeds(0))
    assert judge_run((find_lesson(12).path / "exercise.py").read_text()).state == "not_attempted"
    assert judge_run("def (").state == "blocked"
    assert all(op.override is None for op in OPS.values())


def test_a_missing_part_is_named(judge_run):
    verdict = judge_run(source("softmax", "adamw_step"))
    assert verdict.state == "failed"
    assert verdict.message.startswith("not yours yet, but still the library's: softmax_backward, cross_")
    assert verdict.held == ("yours, and right by itself: softmax", "yours, and right by itself: adamw_step")
    assert verdict.broken[0] == "yours, and right by itself: softmax_backward"


def test_a_function_that_is_wrong_comes_before_those_that_are_not_there(judge_run):
    verdict = judge_run(source("softmax") + HASTY)
    assert "your lr_schedule is wrong" in verdict.message
    assert verdict.broken[0] == "yours, and right by itself: lr_schedule"
    assert "yours, and right by itself: linear" in verdict.broken


SOME = ("an optimizer that does nothing", "a part that ends the process",
        "a report of what was never trained", "an activation that is right on small arrays only",
        "the library's own softmax")


def test_wrong_ways_are_rejected_by_the_property_meant_for_them(judge_run, tmp_path):
    """A few of all kinds; `course selftest` tries the others."""
    wrong = [answer for answer in known.capstone_answers().wrong if answer.sentence in SOME]
    assert len(wrong) == len(SOME)
    for answer in wrong:
        for name, text in answer.other_files:
            (tmp_path / name).write_text(text)
        verdict = judge_run(answer.text)
        assert verdict.state != "passed" and "\n" not in verdict.message
        said = (*verdict.broken, verdict.message)
        assert any(answer.breaks in words for words in said), (answer.sentence, verdict)


def test_losses_learnt_by_heart_earn_nothing(judge_run):
    """Not a part of the points either: what they say of the training is worth no more."""
    verdict = judge_run(known.by_heart())
    assert verdict.state == "failed" and not [title for title in verdict.held if "loss" in title]


def test_a_part_that_goes_wrong_later_is_seen(judge_run):
    verdict = judge_run(source() + LATER)
    assert verdict.state == "failed" and "your layernorm_backward" in verdict.message


def test_a_graders_seeds_are_hidden(judge_run):
    verdict = judge_run(source(), variant=7)
    assert verdict.state == "passed" and not [title for title in verdict.held if "7" in title]
    assert "the loss with a hidden seed ends in the range" in verdict.held
    right = [title for title in verdict.held if title.startswith("yours, and right ")]
    assert len(right) == len(capstone.PARTS)  # what a course may give points for in part


def test_a_slow_part_is_timed_out(judge_run):
    slow = "import time\nfast = lr_schedule\n"
    slow += "def lr_schedule(*args):\n    end = time.process_time() + 1\n"
    slow += "    while time.process_time() < end: pass\n    return fast(*args)\n"
    verdict = judge_run(source() + slow, cpu_seconds=2)
    assert verdict.state == "timed_out" and verdict.message


@pytest.fixture
def solved(tmp_path):
    """A workspace with lessons 4, 5, 6 and 8 solved, and the capstone started."""
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


def test_stubs_are_not_gathered_and_clashes_are_one_line(solved):
    folder = solved / "12_capstone"
    start = find_lesson(6).path / "exercise.py"
    (solved / "06_attention/exercise.py").write_text(start.read_text())
    gather(folder)
    assert parts_in(folder)[1] == ["attention"]
    with open(solved / "08_training/exercise.py", "a") as f:
        f.write("\ndef softmax(x):\n    return x\n")
    with pytest.raises(UserError, match=r"08_training.exercise.py, line \d+: softmax is something else"):
        gather(folder)


def test_of_two_definitions_in_one_file_the_last_counts(solved):
    path = solved / "04_softmax_and_loss/exercise.py"
    path.write_text("def softmax(x):\n    return 1\n\n\n" + path.read_text())
    gather(solved / "12_capstone")
    text = (solved / "12_capstone/exercise.py").read_text()
    assert text.count("def softmax(") == 1 and "return 1\n" not in text


def test_exercises_of_unusual_making_are_gathered(solved):
    """A class of one's own, a mark of the bytes' order, imports from the future, two lines of one number."""
    for number, scale in ((4, 1), (8, 2)):
        path = solved / find_lesson(number).folder / "exercise.py"
        text = path.read_text().replace("import math\n", "import math\nif False:\n    pass\n", 1)
        text = text.replace("if False", f"if {scale} < 1")
        own = "from __future__ import annotations\n" if number == 8 else ""
        own += "from dataclasses import dataclass\n"
        text += f"\n@dataclass\nclass Box{number}:\n    size: int = {scale}\n"
        path.write_text("\ufeff" + own + ("" if number == 8 else "\n") + text, "utf-8")
    folder = solved / "12_capstone"
    gather(folder)
    parts, missing = parts_in(folder)
    assert [part.op for part in parts] == list(capstone.PARTS) and not missing
    for number in (4, 8):
        path = solved / find_lesson(number).folder / "exercise.py"
        path.write_text(path.read_text("utf-8").replace(f"Box{number}", "Box"), "utf-8")
    with pytest.raises(UserError, match="Box is something else in an earlier lesson"):
        gather(folder)


@pytest.mark.parametrize("more, taken", [
    ("def softmax(x, axis=-1):\n    return first(x)\n", True),
    ("softmax = lambda *args: first(*args)\n", False),
    ("softmax = lambda *args, **named: first(*args, **named)\n", True),
    ("def softmax(scores):\n    return first(scores)\n", False),
    ("def softmax(x, y):\n    return x\n", False),
])
def test_a_part_may_have_defaults_for_more_arguments(solved, more, taken):
    path = solved / find_lesson(4).folder / "exercise.py"
    path.write_text(path.read_text("utf-8") + "\nfirst = softmax\n" + more, "utf-8")
    if taken:
        assert capstone.train(0, load_parts([find_lesson(4)], solved)[0][:1])
    else:
        with pytest.raises(UserError, match="softmax is called as"):
            load_parts([find_lesson(4)], solved)


def test_the_lesson_says_why_a_report_is_not_whole_and_where_it_lies(solved, monkeypatch, capsys):
    monkeypatch.setattr(capstone, "limits", lambda: (3.3, 4.2))
    folder = solved / "12_capstone"
    monkeypatch.chdir(solved)
    text = (folder / "lesson.py").read_text("utf-8").partition("# ## The report")[2]
    code = text[text.index("# %%\nif report:") :].partition("# %% [markdown]")[0]
    (folder / "exercise.py").write_text(source("softmax", "adamw_step"))
    report = capstone.hand_in(folder, *parts_in(folder))
    wrong = [run | {"exact": run["seed"] != 1} for run in report["runs"]]  # whatever the final loss is
    said = []
    for changed in ({}, {"runs": wrong}, {"missing": []}):
        exec(code, {"folder": folder, "capstone": capstone, "report": report | changed})
        said.append(capsys.readouterr().out.splitlines()[-3:])
    places = ["12_capstone/report.md", "12_capstone/report.json"]
    assert said[0] == ["the losses are the library's, but 11 of 13 parts were still its own", *places]
    assert said[1] == ["a part is wrong: the losses with seed 1 are not the library's", *places]
    assert said[2] == ["the losses are the library's at every step, on parts that are all yours", *places]


def test_the_report_says_what_was_run_and_is_the_same_every_time(solved, monkeypatch):
    monkeypatch.setattr(capstone, "limits", lambda: (3.3, 4.2))
    folder = solved / "12_capstone"
    gather(folder)
    report = capstone.hand_in(folder, *parts_in(folder))
    first = [(folder / name).read_bytes() for name in ("report.json", "report.md")]
    assert report == json.loads(first[0]) and report["reached"] is True
    assert all(run["final_loss"] == run["library"] for run in report["runs"])
    assert all(len(run["losses"]) == 12 for run in report["runs"])
    assert {part["op"] for part in report["parts"]} == set(capstone.PARTS)
    assert "| 0 | 4.0872 |" in first[1].decode()
    capstone.hand_in(folder, *parts_in(folder))
    assert [(folder / name).read_bytes() for name in ("report.json", "report.md")] == first
    with open(folder / "exercise.py", "a") as f:
        f.write("\n" + HASTY)
    report = capstone.hand_in(folder, *parts_in(folder))
    assert any("is right" in run["remark"] for run in report["runs"])
    monkeypatch.setattr(capstone, "limits", lambda: (0, 9))
    report = capstone.hand_in(folder, *parts_in(folder))
    assert all(run["in_range"] for run in report["runs"])
    assert not report["reached"] and "a part is wrong" in capstone.conclusion(report, folder)


TINY = {"train.steps": 6, "train.eval_every": 6, "train.sample_every": 6, "train.sample_tokens": 9,
        "model.width": 16, "train.batch": 2, "tokenizer": "char"}


def test_the_parts_tell_a_story_and_their_losses_are_the_librarys(solved, monkeypatch):
    """The lesson once ended in a loss, with nothing written and nothing drawn."""
    monkeypatch.setattr(capstone, "STORY", capstone.STORY | TINY)
    gather(solved / "12_capstone")
    parts, _ = parts_in(solved / "12_capstone")
    heard = []
    losses, text = capstone.tell(parts, lambda *each: heard.append(each))
    assert heard == list(enumerate(losses, 1)) and len(losses) == 6
    assert text.startswith("Once upon a time") and len(text) == len("Once upon a time") + 9
    assert all(part.calls for part in parts)
    theirs, _ = capstone.tell()
    assert losses == pytest.approx(theirs, abs=1e-3)
    with pytest.raises(PartFailure, match="too long for 6 steps"):
        capstone.tell(parts, patience=0)
