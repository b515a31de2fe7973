"""Check the grading of a class: points, pages, what is kept for the next grading, reports and exports."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tinyllm.cli import main
from tinyllm.course import capstone, kernels
from tinyllm.course.answer_keys import answers
from tinyllm.course.classroom import queue
from tinyllm.course.classroom.collect import Submission, collect
from tinyllm.course.classroom.config import Course, load_course, whole_course
from tinyllm.course.classroom.grading import UNJUDGED, empty_record
from tinyllm.course.classroom.results import write_results
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
REFUSED = {"absolute": "leads out", "climbing": "leads out", "link": "leads out", "bomb": "more than 2 MiB",
           "empty": "no exercise.py", "broken": "not a readable zip", "linked": "is a link",
           "twice": "2 submissions of one student"}


def test_a_long_name_costs_nobody_the_results(tmp_path):
    course, long = whole_course(), "\N{GRINNING FACE}" * 63
    records = [empty_record(Submission(name, tmp_path), course, "plain", "") for name in ("Ada", long)]
    write_results(tmp_path, course, records, "plain")
    assert "Ada" in (tmp_path / "grades.csv").read_text("utf-8")
    assert len(list((tmp_path / "feedback").iterdir())) == 2


def hand_in(student, text):
    folder = Path("subs", student, LESSON.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "exercise.py").write_text(text, "utf-8")


def zipped(name, entry, data="x", link=False):
    with zipfile.ZipFile(f"subs/{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(entry)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = (0o120777 if link else 0o100644) << 16
        archive.writestr(info, data)


def hand_in_all():
    right = "\n\n".join(solved(LESSON.task(name)) for name in ("softmax", "softmax_backward"))
    hand_in("Ada Lovelace", right)
    hand_in("wrong", WRONG)
    Path("subs/wrong/.tinyllm").mkdir()
    Path("subs/wrong/.tinyllm/progress.json").write_text('{"tasks": {"4/softmax": {"solution": true}}}')
    hand_in("=1+2", "def softmax(x):\n    raise ValueError('`<b>\\x1b[2J`')\n")
    hand_in("＝1", "")  # to some spreadsheets that is a formula too
    hand_in("Юлія 😀", "def softmax(x:\n")
    hand_in("untouched", (LESSON.path / "exercise.py").read_text("utf-8"))
    zipped("zipped", f"work/{LESSON.folder}/exercise.py", right)
    zipped("absolute", "/etc/passwd")
    zipped("climbing", f"../../{LESSON.folder}/exercise.py")
    zipped("link", f"{LESSON.folder}/exercise.py", link=True)
    zipped("bomb", f"{LESSON.folder}/exercise.py", bytes(2**26))
    zipped("empty", "readme.txt")
    zipped("twice", f"{LESSON.folder}/exercise.py")
    hand_in("twice", WRONG)
    Path("subs/broken.zip").write_bytes(b"PK\x03\x04" + bytes(100))
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
    assert main(["course", "grade", "subs", "--out", "out", *more]) == 0
    return Path("out/grades.csv").read_text("utf-8")


def test_good_and_bad_are_graded_side_by_side(graded):
    text = Path("out/grades.csv").read_text("utf-8")
    rows = {row["student"]: row for row in csv.DictReader(text.splitlines())}
    assert {name: row["points"] for name, row in rows.items() if not row["note"]} == {
        "Ada Lovelace": "3", "zipped": "3", "wrong": "0", "untouched": "0", "'=1+2": "0", "'＝1": "0",
        "Юлія 😀": "0"}
    assert all(row["isolation"].startswith(best_level()) and row["of"] == "3" for row in rows.values())
    assert all(words in rows[name]["note"] and rows[name]["points"] == "0" for name, words in REFUSED.items())
    assert "isolation: " + best_level() in graded and "leads out" in graded
    assert "7 submissions graded, 2 with all 3 points\n8 submissions could not be graded" in graded
    assert "roster.csv: neither a folder nor a zip" in graded and "roster" not in text
    pages = [path.read_text("utf-8") for path in Path("out/feedback").iterdir()]
    assert len(pages) == len(rows)
    assert all("isolation: " in page and "\x1b" not in page for page in pages)
    assert any("without subtracting the maximum" in page and "tinyllm check 4" in page
               and "   3      return np.exp(x)" in page for page in pages)
    assert any("ValueError: `&lt;b&gt;" in page and re.search("<mark .*>   2  ", page) for page in pages)
    assert not any("<b>" in page for page in pages)
    (page,) = [page for page in pages if "SyntaxError" in page]
    assert page.count("SyntaxError") == 1 and re.search("<mark .*>   1  def softmax", page)
    assert "blocked" in page and "Hint" not in page  # of no use there


def test_the_json_and_the_report_and_the_exports(graded, capsys, printed):
    grade("--json")
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads(Path("out/results.json").read_text())
    assert results["left_out"] == ["roster.csv"]
    task = next(r for r in results["submissions"] if r["student"] == "wrong")["lessons"][0]["tasks"][0]
    assert task["task"] == "softmax" and task["state"] == "failed" and "maximum" in task["mistake"]
    keys = {"properties_held", "properties", "hint", "smallest_input", "step", "message", "line"}
    assert keys <= task.keys()
    told = printed("course", "report", "out")
    assert "without subtracting the maximum" in told and "wrong: lesson 4, softmax" in told
    assert "15 submissions, 7 graded" in told and "roster.csv: neither a folder nor a zip" in told
    assert "4/softmax: 2 of 4 passed" in told and "softmax_backward: " not in told  # nobody failed there
    assert re.search(r"90 to 100 %     2  #+\n", told) and re.search(r"  0 to  10 %     5  #{40}\n", told)
    assert "anybody can read one unseen" in " ".join(told.split())
    assert "isolation: " in told and all(len(line) <= 80 for line in told.splitlines())
    assert main(["course", "export", "gradescope-results", "out", "--out", "r.json"]) == 2


def test_a_result_for_gradescope_has_the_points_and_remarks_of_one_student(graded):
    results = json.loads(Path("out/results.json").read_text())
    results["submissions"] = [record for record in results["submissions"] if record["student"] == "wrong"]
    Path("out/results.json").write_text(json.dumps(results))
    assert main(["course", "export", "gradescope-results", "out", "--out", "r.json"]) == 0
    page = json.loads(Path("r.json").read_text("utf-8"))
    assert page["score"] == sum(test["score"] for test in page["tests"]) and page["output_format"] == "text"
    first, second = page["tests"]
    expected = {"name": "4/softmax", "score": 0, "max_score": 2, "status": "failed", "output_format": "text"}
    assert {key: first[key] for key in expected} == expected and second["max_score"] == 1
    assert "without subtracting the maximum" in first["output"] and "**" not in first["output"]


def test_the_same_bytes_whatever_the_order_and_the_number_of_workers(graded):
    before = {name: Path("out", name).read_bytes() for name in ("grades.csv", "results.json")}
    shutil.rmtree("out")
    os.rename("subs/wrong", "subs/wrong2")  # another order in the folder
    os.rename("subs/wrong2", "subs/wrong")
    grade("--workers", "3")
    assert {name: Path("out", name).read_bytes() for name in before} == before


def test_grading_goes_on_where_it_stopped_and_a_crash_of_one_touches_no_other(graded, monkeypatch):
    first, asked, real = Path("out/grades.csv").read_text("utf-8"), [], queue.grade

    def grade_or_die(submission, course, level):
        if submission.student == "wrong":
            os.kill(os.getpid(), 9)
        return real(submission, course, level)

    def run_all(todo, *rest):
        asked.extend(submission.student for submission, _ in todo)
        return run(todo, *rest)

    run = queue.run_all
    monkeypatch.setattr(queue, "run_all", run_all)
    monkeypatch.setattr(queue, "grade", grade_or_die)
    assert grade() == first and not asked
    for student in ("wrong", "untouched"):
        hand_in(student, WRONG + "# changed\n")
    lines = zip(first.splitlines(), grade().splitlines(), strict=True)
    assert [new.split(",")[0] for old, new in lines if old != new and "process ended" in new] == ["wrong"]
    assert sorted(asked) == ["untouched", "wrong"]


def test_without_a_course_file_the_seed_is_drawn_and_kept(graded, monkeypatch, capsys):
    """It was 0, which everybody knows: a table of the right answers to the hidden inputs had all points."""
    os.remove("course.toml")
    seeds = []
    monkeypatch.setattr(queue, "prepare", lambda *arguments: None)
    monkeypatch.setattr(queue, "run_all", lambda todo, course, *rest: seeds.append(course.seed))
    grade()
    assert "no course.toml here: every lesson" in capsys.readouterr().out
    grade()
    shutil.rmtree("out")
    grade("--json")
    first, again, other = seeds
    assert first == again != other and 0 not in seeds
    with pytest.raises(ValueError, match="no hidden inputs"):
        whole_course().variant("wrong")


def test_what_this_machine_could_not_try_is_tried_again(here, monkeypatch, capsys):
    """Without a compiler lesson 10 is blocked, and stayed so when there was one; a time-out stayed, too."""
    Path("course.toml").write_text("seed = 7\n[[lesson]]\nnumber = 10\npoints = { softmax_c = 1 }\n")
    folder = Path("subs", "Ada", find_lesson(10).folder)
    folder.mkdir(parents=True)
    (folder / "exercise.c").write_text(answers(find_lesson(10).task("softmax_c")).reference)
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "find_compiler", lambda: None)
        assert ",0,1," in grade()
    told = " ".join(capsys.readouterr().out.split())
    assert "1 exercise blocked, 0 timed out" in told and "out/feedback say why" in told
    if kernels.find_compiler():
        assert ",1,1," in grade()
    (path,) = Path("out/.parts").iterdir()
    record, asked = json.loads(path.read_text()), []
    monkeypatch.setattr(queue, "run_all", lambda todo, *rest: asked.extend(todo))
    for state, message, judged in [
        ("passed", "", 0), ("timed_out", "softmax ran for too long", 1),
        ("blocked", "SyntaxError: invalid syntax", 0), ("blocked", f"{UNJUDGED} (OSError)", 1),
        ("blocked", "ModuleNotFoundError: No module named 'scipy'", 1), ("blocked", kernels.NONE, 1),
        ("blocked", "PermissionError: [Errno 13] Permission denied: '/etc/passwd'", 0),
    ]:
        record["lessons"][0]["tasks"][0] |= {"state": state, "message": message}
        path.write_text(json.dumps(record))
        asked.clear()
        assert ("its grading process ended" in grade()) == bool(judged) == bool(asked), message


@pytest.mark.parametrize("name, value", [("__version__", "9"), ("version", lambda name: "9")])
def test_another_version_of_python_or_of_a_library_has_records_of_its_own(graded, monkeypatch, name, value):
    (submission, *_) = collect("subs", [LESSON])
    key = queue.record_name(submission, load_course("course.toml"), "plain")
    monkeypatch.setattr(queue, name, value)
    assert queue.record_name(submission, load_course("course.toml"), "plain") != key


def test_what_was_not_handed_in_was_not_attempted(here, monkeypatch, capsys):
    """Of any kind: lessons 11 and 12 were blocked, with a path in our temporary folder."""
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
    for path in ("out/results.json", "out/feedback/Ada.html"):
        assert "tinyllm-" not in Path(path).read_text("utf-8")


@pytest.mark.signals
def test_an_interrupt_ends_a_grading_and_its_processes(graded, monkeypatch, capsys):
    """A shell has background jobs ignore SIGINT; then SIGTERM left grading processes behind for hours.

    An exception in a callback, and Hypothesis has one for the garbage collector, is only printed.
    """
    shutil.rmtree("out/.parts")
    for number, ignored in ((signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)):
        monkeypatch.setattr(queue, "prepare", lambda *rest, number=number: signal.raise_signal(number))
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        before = signal.signal(ignored, signal.SIG_IGN), signal.signal(number, usual)
        try:
            assert main(["course", "grade", "subs", "--out", "out"]) == 130
            assert (signal.getsignal(ignored), signal.getsignal(number)) == (signal.SIG_IGN, usual)
        finally:
            signal.signal(ignored, before[0])
            signal.signal(number, before[1])
        assert "the same command goes on" in capsys.readouterr().err
        assert not list(Path("out/.parts").iterdir())


def test_what_trainings_are_compared_with_is_computed_before_the_fork(monkeypatch):
    asked = []
    monkeypatch.setattr(capstone, "tolerance", asked.append)
    monkeypatch.setattr(queue, "properties", lambda *arguments, **options: {})
    queue.prepare(whole_course(), {1})
    assert len(asked) == (sys.platform == "linux")
    queue.prepare(whole_course(), {1, 2}, [signal.SIGINT])  # which trained for each variant
    assert len(asked) == (sys.platform == "linux")


def test_an_interrupt_ends_the_computation_of_right_results(monkeypatch):
    seen = []
    monkeypatch.setattr(queue, "right", lambda op, args: seen.append(op))
    queue.prepare(Course(whole_course().parts[4:5]), {1}, seen)
    assert len(seen) == (sys.platform == "linux")


def test_a_grading_in_another_thread_leaves_the_signals_alone():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: queue.interrupts().__enter__()).result() == []
