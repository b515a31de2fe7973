"""Check the grading of a class: points, pages, printed output, crashes and interrupts."""

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinyllm.cli import main
from tinyllm.course import capstone, kernels
from tinyllm.course.classroom import grading
from tinyllm.course.classroom.config import Course, whole_course
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import best_level

LESSON = find_lesson(4)
COURSE = """title = "Test"
seed = 7
variants = 2
[[lesson]]
number = 4
due = 2026-10-01
points = { softmax = 2, softmax_backward = 1 }
"""
WRONG = "import numpy as np\ndef softmax(x):\n    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)\n"
REFUSED = {"empty": "no exercise.py", "linked": "is a link", "twice": "2 submissions of one student"}


def hand_in(student, text):
    folder = Path("subs", student, LESSON.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "exercise.py").write_text(text, "utf-8")


def zipped(name, entry, text="x"):
    with zipfile.ZipFile(f"subs/{name}.zip", "w") as archive:
        archive.writestr(entry, text)


def hand_in_all():
    right = "\n\n".join(solved(LESSON.task(name)) for name in ("softmax", "softmax_backward"))
    hand_in("Ada Lovelace", right)
    hand_in("wrong", WRONG)
    hand_in("=1+2", "def softmax(x):\n    raise ValueError('`<b>\\x1b[2J`')\n")
    hand_in("Юлія 😀", "def softmax(x:\n")
    hand_in("untouched", LESSON.starter)
    zipped("zipped", f"work/{LESSON.folder}/exercise.py", right)
    zipped("empty", "readme.txt")
    zipped("twice", f"{LESSON.folder}/exercise.py")
    hand_in("twice", WRONG)
    os.symlink("/etc", "subs/linked")
    Path("subs/roster.csv").write_text("Ada,Bob\n")


@pytest.fixture(scope="session")
def graded_once(tmp_path_factory):
    """Grade a class; return its folder and what was printed."""
    folder = tmp_path_factory.mktemp("class")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as told:
        Path("course.toml").write_text(COURSE)
        hand_in_all()
        assert main(["course", "grade", "subs", "--out", "out", "--workers", "2"]) == 0
    return folder, told.getvalue()


@pytest.fixture
def graded(graded_once, tmp_path, monkeypatch):
    """Work in a copy of the graded class; return what its grading printed."""
    shutil.copytree(graded_once[0], tmp_path / "class", symlinks=True)
    monkeypatch.chdir(tmp_path / "class")
    return graded_once[1]


def grade(*more):
    """Grade into `out` -> its grades.csv as {student: row}."""
    assert main(["course", "grade", "subs", "--out", "out", *more]) == 0
    return rows()


def rows():
    lines = Path("out/grades.csv").read_text("utf-8").splitlines()
    return {row["student"]: row for row in csv.DictReader(lines)}


def test_good_and_bad_are_graded_side_by_side(graded):
    found = rows()
    assert {name: row["points"] for name, row in found.items() if row["points"]} == {
        "Ada Lovelace": "3", "zipped": "3", "wrong": "0", "untouched": "0", "'=1+2": "0", "Юлія 😀": "0"}
    assert found["Юлія 😀"]["note"].startswith("lesson 4: SyntaxError: '(' was never closed")
    assert found["wrong"]["note"] == "lesson 4: there is no function softmax_backward in the file"
    assert not found["untouched"]["note"]
    assert {(row["isolation"], row["of"]) for row in found.values()} == {(best_level(), "3")}
    assert all(words in found[name]["note"] for name, words in REFUSED.items())
    assert {found[name]["points"] for name in REFUSED} == {""}  # not 0: nothing was graded
    pages = [path.read_text("utf-8") for path in Path("out/feedback").iterdir()]
    assert len(pages) == len(found)
    assert all("isolation: " in page and "\x1b" not in page and "<b>" not in page for page in pages)
    assert any("without subtracting the maximum" in page and "   3      return np.exp(x)" in page
               for page in pages)
    assert any("ValueError: `&lt;b&gt;" in page and "(line 2)" in page for page in pages)
    (page,) = [page for page in pages if "SyntaxError" in page]
    assert page.count("SyntaxError") == 1 and "   1  def softmax" in page
    assert "blocked" in page and "Hint" not in page  # a hint would not help there


def test_what_is_printed_says_where_the_class_is_stuck_and_who_was_not_graded(graded):
    assert graded.startswith("isolation: " + best_level()) and max(map(len, graded.splitlines())) <= 80
    said = " ".join(graded.split())
    assert ": 4/softmax: softmax without subtracting the maximum" in said
    assert re.search(r"4/softmax +2 +2 +0 +1 +1\n", graded) and "linked: it is a link" in said
    assert "roster.csv: neither a folder nor a zip" in said and "roster" not in rows()
    assert "graded: 6; with all 3 points: 2; with empty cells, not 0, in all tables: 3" in said


def test_the_same_bytes_whatever_the_number_of_workers(graded):
    before = {name: Path("out", name).read_bytes() for name in ("grades.csv", "results.json")}
    shutil.rmtree("out")
    grade("--workers", "3")
    assert {name: Path("out", name).read_bytes() for name in before} == before


def test_a_crash_of_a_grading_process_touches_no_other(here, monkeypatch):
    def grade_or_die(submission, course, level):
        if submission.student == "wrong":
            os.kill(os.getpid(), 9)
        return graded_well(submission, course, level)

    graded_well = grading.grade
    monkeypatch.setattr(grading, "grade", grade_or_die)
    Path("course.toml").write_text(COURSE)
    hand_in("wrong", WRONG)
    hand_in("right", solved(LESSON.task("softmax")))
    found = grade()
    assert "process ended" in found["wrong"]["note"]
    assert (found["right"]["lesson_04"], found["right"]["points"]) == ("2", "2")


def test_what_was_not_handed_in_is_not_graded_and_notes_and_gradescope_say_why(here, monkeypatch):
    """Missing lessons were once "blocked", with a path in a temporary folder, or got 0 points."""
    points = {4: "softmax = 2, softmax_backward", 6: "rope", 10: "softmax_c", 11: "test_softmax", 12: "gpt"}
    lessons = (f"[[lesson]]\nnumber = {n}\npoints = {{ {names} = 2 }}\n" for n, names in points.items())
    Path("course.toml").write_text("seed = 7\n" + "".join(lessons))
    monkeypatch.setattr(grading, "prepare", lambda *arguments: None)
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    hand_in("Ada", "import os\ndef softmax(x):\n    open(os.path.join(os.getcwd(), 'x'))\n"
                   "def softmax_backward(y, dy):\n    raise PermissionError('no')\n")
    for file in "06_attention/exercise_final.py", "10_kernels/exercise.c":
        Path("subs/Ada", file).parent.mkdir()
        Path("subs/Ada", file).write_text("void softmax(float *y) { y[0] = 1; }")
    row = grade()["Ada"]
    assert [row[f"lesson_{n:02}"] for n in points] == ["0", "", "", "", ""]
    assert re.fullmatch("lesson 4: PermissionError.*; lesson 6: exercise_final.py is there, exercise.py "
                        "is not; lesson 10: no C compiler here.*", row["note"])
    page = json.loads(Path("out/gradescope.json").read_text("utf-8"))
    first, _, *others = page["tests"]
    assert (page["score"], page["output_format"]) == (0, "text")
    wanted = {"name": "4/softmax", "score": 0, "max_score": 2, "status": "failed", "output_format": "text"}
    assert {key: first[key] for key in wanted} == wanted
    assert "FileNotFoundError" in first["output"] and "'x'" in first["output"]
    assert all(test["output"].startswith("not graded") and "score" not in test for test in others)
    for path in ("out/results.json", "out/feedback/Ada.html"):
        assert "tinyllm-" not in Path(path).read_text("utf-8")


@pytest.mark.signals
def test_signals_end_a_grading_process_without_a_word(here, monkeypatch, capfd):
    """SIGTERM in a callback, and SIGINT right after the fork, once printed tracebacks."""
    def signalled(*arguments):
        sys.stderr, sys.unraisablehook = sys.__stderr__, sys.__unraisablehook__  # not those of pytest
        signal.raise_signal(signal.SIGINT)  # held back until `end_quietly`
        grading.end_quietly()
        loud = {"__del__": lambda self: os.kill(os.getpid(), signal.SIGTERM)}  # Python prints what it raises
        type("Loud", (), loud)()

    monkeypatch.setattr(grading, "run_one", signalled)
    Path("course.toml").write_text(COURSE)
    hand_in("Ada", WRONG)
    assert "process ended" in grade()["Ada"]["note"]
    assert not capfd.readouterr().err


@pytest.mark.signals
def test_an_interrupt_ends_a_grading_and_its_processes(graded, monkeypatch, capsys):
    """Background jobs of a shell ignore SIGINT; then SIGTERM once left grading processes behind for hours.

    A handler must not raise: Python only prints exceptions in callbacks, such as one that Hypothesis has.
    """
    before, during = Path("out/results.json").read_bytes(), []
    for number, ignored in ((signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)):
        monkeypatch.setattr(grading, "prepare", lambda *rest, number=number, ignored=ignored: (
            during.append(signal.getsignal(ignored)), signal.raise_signal(number)))
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        kept = signal.signal(ignored, signal.SIG_IGN), signal.signal(number, usual)
        try:
            assert main(["course", "grade", "subs", "--out", "out"]) == 130
            assert (signal.getsignal(ignored), signal.getsignal(number)) == (signal.SIG_IGN, usual)
        finally:
            signal.signal(ignored, kept[0])
            signal.signal(number, kept[1])
        assert "interrupted; nothing was written" in capsys.readouterr().err
    assert Path("out/results.json").read_bytes() == before and during == [signal.SIG_IGN] * 2


def test_right_results_are_computed_before_the_fork_until_an_interrupt(monkeypatch):
    """Each process once trained for itself, and after Ctrl-C the training for each variant went on."""
    asked, seen = [], []
    monkeypatch.setattr(capstone, "reference", lambda seed: SimpleNamespace(allowed=asked.append(seed)))
    monkeypatch.setattr(grading, "right", lambda op, args: seen.append(op))
    grading.prepare(Course(whole_course().parts[12:13]), {1}, lambda: False)
    grading.prepare(whole_course(), {1, 2}, lambda: True)
    assert len(asked) == (sys.platform == "linux") and not seen
    grading.prepare(Course(whole_course().parts[4:5]), {1}, lambda: bool(seen))
    assert len(seen) == (sys.platform == "linux")
