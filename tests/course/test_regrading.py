"""What a grading keeps for the next one, what it does again, and how it ends when it is interrupted."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import test_course
from test_course import LESSON, WRONG, grade, hand_in, read

from tinyllm.cli import main
from tinyllm.course import capstone, kernels
from tinyllm.course.answer_keys import answers
from tinyllm.course.classroom import queue
from tinyllm.course.classroom.collect import collect
from tinyllm.course.classroom.config import load_course, whole_course
from tinyllm.course.classroom.grading import UNJUDGED
from tinyllm.course.syllabus import find_lesson

course = test_course.course  # the fixture


def test_the_same_bytes_whatever_the_order_and_the_number_of_workers(course):
    first = grade("--workers", "1")
    os.rename("out", "before")
    os.rename("subs/wrong", "subs/wrong2")  # another order in the folder
    os.rename("subs/wrong2", "subs/wrong")
    assert grade("--workers", "3") == first
    with open("out/results.json") as new, open("before/results.json") as old:
        assert new.read() == old.read()


def test_without_a_course_file_the_seed_is_drawn_and_kept(course, monkeypatch, capsys):
    """It was 0, which everybody knows: a table of the right answers to the hidden inputs had all points."""
    os.remove("course.toml")
    seeds = []
    monkeypatch.setattr(queue, "prepare", lambda *arguments: None)
    monkeypatch.setattr(queue, "run_all", lambda todo, course, *rest: seeds.append(course.seed))
    grade()
    assert "no course.toml here: every lesson" in capsys.readouterr().out
    grade()
    os.rename("out", "before")
    grade("--json")
    first, again, other = seeds
    assert first == again != other and 0 not in seeds
    with pytest.raises(ValueError, match="no hidden inputs"):
        whole_course().variant("wrong")


def test_grading_goes_on_where_it_stopped(course, monkeypatch):
    first = grade()
    graded = []
    monkeypatch.setattr(queue, "run_all", lambda todo, *rest: graded.extend(todo))
    assert grade() == first and not graded
    hand_in("wrong", WRONG + "# changed\n")
    text = grade().decode()
    assert [submission.student for submission, _ in graded] == ["wrong"]
    assert "its grading process ended" in text


def test_what_this_machine_could_not_try_is_tried_again(tmp_path, monkeypatch, capsys):
    """Without a compiler lesson 10 is blocked, and stayed so when there was one; a time-out stayed, too."""
    monkeypatch.chdir(tmp_path)
    Path("course.toml").write_text("seed = 7\n[[lesson]]\nnumber = 10\npoints = { softmax_c = 1 }\n")
    folder = Path("subs", "Ada", find_lesson(10).folder)
    folder.mkdir(parents=True)
    (folder / "exercise.c").write_text(answers(find_lesson(10).task("softmax_c")).reference)
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    assert ",0,1," in grade().decode()
    told = " ".join(capsys.readouterr().out.split())
    assert "1 task blocked, 0 timed out" in told and "out/feedback say why" in told
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    if kernels.find_compiler():
        assert ",1,1," in grade().decode()
    (path,) = Path("out/.parts").iterdir()
    record = json.loads(path.read_text())
    for state, message, judged in [
        ("passed", "", 0), ("timed_out", "softmax did not come to an end in time", 1),
        ("blocked", "SyntaxError: invalid syntax", 0), ("blocked", f"{UNJUDGED} (OSError)", 1),
        ("blocked", "ModuleNotFoundError: No module named 'scipy'", 1), ("blocked", kernels.NONE, 1),
        ("blocked", "PermissionError: [Errno 13] Permission denied: '/etc/passwd'", 0),
    ]:  # fmt: skip
        record["lessons"][0]["tasks"][0] |= {"state": state, "message": message}
        path.write_text(json.dumps(record))
        asked = []
        monkeypatch.setattr(queue, "run_all", lambda todo, *rest, asked=asked: asked.extend(todo))
        assert ("its grading process ended" in grade().decode()) == bool(judged), message
        assert len(asked) == judged, message


def test_another_python_has_records_of_its_own(course, monkeypatch):
    (submission, *_) = collect("subs", [LESSON])
    ours = load_course("course.toml")
    key = queue.record_name(submission, ours, "plain")
    monkeypatch.setattr(queue.platform, "python_version", lambda: "3.99.0")
    assert queue.record_name(submission, ours, "plain") != key


def test_what_was_not_handed_in_was_not_attempted(tmp_path, monkeypatch, capsys):
    """Whatever the kind of its tasks: lessons 11 and 12 were blocked, with a path in our temporary folder."""
    monkeypatch.chdir(tmp_path)
    points = {4: "softmax", 10: "softmax_c", 11: "test_softmax", 12: "gpt"}
    lessons = (f"[[lesson]]\nnumber = {n}\npoints = {{ {name} = 1 }}\n" for n, name in points.items())
    Path("course.toml").write_text("seed = 7\n" + "".join(lessons))
    monkeypatch.setattr(queue, "prepare", lambda *arguments: None)
    hand_in("Ada", "import os\ndef softmax(x):\n    open(os.path.join(os.getcwd(), 'x'))\n")
    grade("--json")
    (record,) = json.loads(capsys.readouterr().out)["submissions"]
    tasks = [task for lesson in record["lessons"] for task in lesson["tasks"]]
    assert [task["state"] for task in tasks] == ["failed"] + 3 * ["not_attempted"]
    assert tasks[0]["message"].startswith("FileNotFoundError") and "'x'" in tasks[0]["message"]
    for path in ("out/results.json", "out/feedback/Ada.md"):
        assert "tinyllm-" not in read(path)


@pytest.mark.signals
def test_an_interrupt_says_that_nothing_is_lost(course, monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "run_all", interrupted)
    assert main(["course", "grade", "subs", "--out", "out"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.signals
def test_an_interrupt_that_is_swallowed_ends_a_grading_all_the_same(course, monkeypatch, capsys):
    """As by a callback of the garbage collector, and Hypothesis has one: its exceptions are only printed."""

    def swallowed(*arguments):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(queue, "prepare", swallowed)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    try:
        assert main(["course", "grade", "subs", "--out", "out"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the same command goes on" in capsys.readouterr().err and not list(Path("out/.parts").iterdir())


def test_what_trainings_are_compared_with_is_computed_before_the_fork(monkeypatch):
    asked = []
    monkeypatch.setattr(capstone, "expect", asked.append)
    monkeypatch.setattr(queue, "properties", lambda *arguments, **options: {})
    queue.prepare(whole_course(), {1})
    assert len(asked) == (sys.platform == "linux")


@pytest.mark.signals
def test_a_crash_of_one_touches_no_other(course, monkeypatch):
    first = grade().decode()
    os.rename("out", "before")
    real = queue.grade

    def grade_or_die(submission, course, level):
        if submission.student == "wrong":
            os.kill(os.getpid(), 9)
        return real(submission, course, level)

    monkeypatch.setattr(queue, "grade", grade_or_die)
    lines = zip(first.splitlines(), grade().decode().splitlines(), strict=True)
    assert [new.split(",")[0] for old, new in lines if old != new] == ["wrong"]
