"""Submissions that cost the grader more than they should, or reach for other students' pages and points."""

import os
import struct
import tracemalloc
import zipfile
from types import SimpleNamespace

import pytest

from tinyllm.course.checker import Verdict
from tinyllm.course.classroom.collect import collect, left_out
from tinyllm.course.classroom.grading import scored
from tinyllm.course.classroom.results import cell, feedback_name
from tinyllm.course.syllabus import find_lesson

LESSON = find_lesson(4)


def collected(folder):
    """The one submission of a folder."""
    (submission,) = collect(folder, [LESSON])
    return submission


def test_a_zip_of_a_hundred_thousand_names_is_not_read(tmp_path):
    """Its list of contents is read as a whole, so its length is looked at first."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 4) + bytes(16) + b"name"
    names = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(names), 0, 0)
    (tmp_path / "many.zip").write_bytes(names + end)
    tracemalloc.start()
    assert "list of contents" in collected(tmp_path).problem
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_that_is_called_a_zip_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "late.zip")
    writer = os.open(tmp_path / "late.zip", os.O_RDWR | os.O_NONBLOCK)  # so that a wrong read ends
    os.write(writer, b"PK")
    assert "neither a folder nor a zip" in collected(tmp_path).problem
    os.close(writer)


@pytest.mark.parametrize("name", ["notes.txt", "roster.csv", "course.toml", "grades", "Thumbs.db", "x.pdf"])
def test_a_file_beside_the_submissions_is_no_student(tmp_path, name):
    """A list of names became a student with no points, a page, and a row for Canvas."""
    (tmp_path / name).write_bytes(b"Ada,Bob\n")
    (tmp_path / ".hidden").write_bytes(b"")
    assert collect(tmp_path, [LESSON]) == [] and left_out(tmp_path) == [name]


@pytest.mark.parametrize("suffix", [".rar", ".7z", ".tar", ".tgz", ".tar.gz", ".GZ", ".ipynb", ".py", ".c"])
def test_what_was_plainly_handed_in_is_a_student_who_is_told_how(tmp_path, suffix):
    (tmp_path / f"Ada L.{suffix}").write_bytes(b"x = 1")
    submission = collected(tmp_path)
    assert submission.student == "Ada L." and not submission.files and left_out(tmp_path) == []
    assert f"hand in a folder or a zip with {LESSON.folder}/exercise.py" in submission.problem


def test_a_folder_may_be_called_like_a_file(tmp_path):
    for name in ("Ada.py", "notes.txt"):
        (tmp_path / name / LESSON.folder).mkdir(parents=True)
        (tmp_path / name / LESSON.folder / "exercise.py").write_bytes(b"x = 1")
    found = {submission.student: submission.problem for submission in collect(tmp_path, [LESSON])}
    assert found == {"Ada.py": "", "notes.txt": ""} and left_out(tmp_path) == []


def test_a_name_that_no_folder_can_hold_is_left_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "long.zip", "w") as archive:
        for name in ("exercise.py", "é" * 130 + ".py", "x" * 300 + ".py"):
            archive.writestr(f"{LESSON.folder}/{name}", "x = 1")
    submission = collected(tmp_path)
    assert list(submission.files) == [(LESSON.folder, "exercise.py")] and not submission.problem


def test_no_student_writes_on_the_page_of_another():
    victim = feedback_name("José María").removesuffix(".md")
    assert feedback_name(victim) != f"{victim}.md"
    assert feedback_name("Ada-1815") == "Ada-1815.md"


@pytest.mark.parametrize("text", ["=1+2", "+1", "-1", "@x", "＝1+2", "＋1", "－1", "＠x"])
def test_no_name_is_a_formula(text):
    assert cell(text) == "'" + text


@pytest.mark.parametrize("held, broken, points", [
    (("right on what is empty or has one element",), ("right on ordinary numbers",), 0),
    (("right on what is empty or has one element",), ("right on ordinary input",), 0),
    (("right on ordinary numbers",), ("right on what is empty or has one element",), 5),
    (("right about mutant 1: it",), ("right about mutant 2",), 5),
    (("inputs are left as they were",), (), 0),
])  # fmt: skip
def test_a_part_of_the_points_needs_ordinary_input(held, broken, points):
    """A constant is right on rows of one element; that was worth up to half of the points."""
    part = SimpleNamespace(lesson=LESSON, points={"softmax": 10})
    verdict = Verdict("softmax", "failed", held, broken)
    assert scored(part, verdict, True)["points"] == points
