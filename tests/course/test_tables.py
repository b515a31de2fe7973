"""Check the instructor's table of students, its errors, and the tables of results."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from helpers import refuses
from hypothesis import given, strategies as st

from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import load_course
from tinyllm.course.classroom.feedback import MOST_LINES, code
from tinyllm.course.classroom.grading import new_record
from tinyllm.course.classroom.students import merge, read_rows, read_students, require_known
from tinyllm.course.classroom.tables import as_csv, write_results

COURSE = """title = "Test"
seed = 7
points_per_late_day = 0.5
[[lesson]]
number = 0
due = 2026-10-01
[[lesson]]
number = 4
due = "2026-10-08T12:00+02:00"
points = { softmax = 2, softmax_backward = 1 }
"""
ROSTER = "\ufeffStudent;Name;ID;SIS User ID;Email;of\r\nAda;Lovelace, Ada;11;s11;ada@x.org;x\r\n" \
         "Bob;;12;;=cmd|' /C calc'!A0\r\n"
UNTIMED = "no time `received` for lesson 0, so not late"
COMMENT = "=cmd|' /C calc'!A0 <b>late bus</b>"
TIMES = """student,received,task,due
Ada,2026-10-01T23:59,0,
Bob,2026-10-02 00:01,0,
Eve,2026-10-09,0,
Ada,2026-10-08T10:00Z,4,
Bob,2026-10-08T10:00:01Z,4,
Leo,2026-10-09T00:00,0,2026-10-07
Leo,2026-10-09T00:00Z,,2026-10-06T00:00Z
"""


@pytest.fixture
def course(here):
    Path("course.toml").write_text(COURSE)
    return load_course("course.toml")


def judged(course, *students):
    """Return records as grading makes them, in which the first exercise has passed."""
    records = [new_record(student, course, "plain", "") for student in students]
    for record in records:
        record["lessons"][0]["tasks"][0] |= {"state": "passed", "points": 1, "checked": 1}
    return records


def table_of(course, text, *students):
    Path("class.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    require_known(table := read_students(course, "class.csv"), list(map(Submission, students)))
    return table


def merged(course, text, *students):
    return merge(table_of(course, text, *students), course, "plain", judged(course, *students))


def read(name):
    return list(csv.reader(Path("out", name).read_text("utf-8").splitlines()))


def written(course, records, name):
    write_results("out", course, records)
    head, *rows = read(name)
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_a_roster_names_who_is_missing_and_who_is_unknown_and_fills_in_the_ids(course):
    records = merged(course, ROSTER, "ada", "Eve")
    rows = written(course, records, "grades.csv")
    assert read("grades.csv")[0] == ["student", "name", "id", "sis user id", "email", "of", "lesson_00",
        "lesson_04", "late_days", "deducted", "points", "of", "isolation", "note", "0/add", "4/softmax",
        "4/softmax_backward", "overrides"]  # two columns `of`
    assert [(row["student"], row["id"], row["points"], row["note"]) for row in rows] == [
        ("ada", "11", "1", UNTIMED), ("Bob", "12", "", "nothing was handed in"),
        ("Eve", "", "1", f"not in the roster; {UNTIMED}")]
    assert rows[1]["email"] == "'=cmd|' /C calc'!A0" and rows[0]["name"] == "Lovelace, Ada"
    heads, possible, ada, bob, eve = read("canvas.csv")
    assert heads == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lesson 0", "Lesson 4",
                     "Test"]
    assert possible == ["Points Possible", "", "", "", "", "1", "3", "4"]
    assert ada == ["Lovelace, Ada", "11", "s11", "ada", "", "1", "", "1"]
    assert bob == ["Bob", "12", "", "Bob", "", "", "", ""] and eve[1] == ""
    ada, bob, _ = written(course, records, "moodle.csv")
    wanted = {"ID number": "11", "Email address": "ada@x.org", "Lesson 0": "1", "Test": "1"}
    assert {head: ada[head] for head in wanted} == wanted
    assert bob["Email address"].startswith("'=") and bob["Feedback comments"] == "nothing was handed in"
    assert ada["Feedback comments"].endswith(f"softmax_backward: not graded; {UNTIMED}")
    write_results("out", course, records[1:2])  # what was not graded, also in Canvas, was once worth 0 points
    page = json.loads(Path("out/gradescope.json").read_text("utf-8"))
    assert not any("score" in each for each in (page, *page["tests"]))
    assert "Nothing was graded: nothing was handed in." in Path("out/feedback/Bob.html").read_text("utf-8")


def test_points_set_by_hand_replace_those_of_the_check_and_are_shown_as_such(course):
    table = f'student,task,points,comment\nADA,4/softmax,"1,5",{COMMENT}\nAda,0/add,,well done\n'
    records = merged(course, table, "Ada")
    (row,) = written(course, records, "grades.csv")
    assert (row["4/softmax"], row["0/add"], row["4/softmax_backward"]) == ("1.5", "1", "")
    assert records[0]["points"] == 2.5
    assert row["overrides"] == (
        "0/add: Your instructor: well done; 4/softmax: Override: 1.5 points from your instructor; "
        f"none from the check. Your instructor: {COMMENT}")
    page = Path("out/feedback/Ada.html").read_text("utf-8")
    assert "1.5 points from your instructor; none from the check" in page and "&lt;b&gt;late bus" in page
    assert "<b>late" not in page and page.count("Override") == 1  # the other row has only a comment
    said = written(course, records, "moodle.csv")[0]["Feedback comments"]
    assert "late bus" in said and "0/add: Your instructor: well done" in said


def test_days_late_are_counted_from_the_end_of_the_day_that_was_due(course):
    records = merged(course, TIMES, "Ada", "Bob", "Eve", "Leo")
    assert not any("roster" in record["remark"] for record in records)  # a row of times is not a roster
    assert merged(course, TIMES, "Ada", "Bob", "Eve", "Leo", "Zoe")[-1]["remark"] == UNTIMED  # once ""
    late = [[lesson.get("late_days") for lesson in record["lessons"]] for record in records]
    assert late == [[0, 0], [1, 1], [7, None], [1, 3]]
    rows = written(course, records[:3], "grades.csv")
    found = [[row[head] for head in ("late_days", "deducted", "lesson_00", "points")] for row in rows]
    assert found == [["0", "0", "1", "1"], ["2", "0.5", "0.5", "0.5"], ["7", "1", "0", "0"]]  # none below 0
    assert "1 day late" in Path("out/feedback/Bob.html").read_text("utf-8")


@pytest.mark.parametrize("text, words", [
    ("", "no 'student'"), ("name,id\nA,1\n", "no 'student'"), ("student,id,id\nA,1,2\n", "twice 'id'"),
    ("student\nAda\n ADA \n", "line 3 is the second row for ada, no task"),
    ('student\n"Ada', "is not CSV"), ("student,id\nA,1,2,3\n", "more cells than there are columns, 2"),
    ("student,id\n,1\n", "no student"), (b"student\n\xff\n", "not text in UTF-8"),
    ("x" * 2**23, "more than"), ("student,task\nAda,sofmax\n", "no lesson or exercise 'sofmax'"),
    ("student,task\nAda,5/softmax\n", "no lesson or exercise '5/softmax'"),
    *[(f"student,task,points\nAda,4/softmax,{x}\n", "points should be a number")
      for x in ("-1", "nan", "inf", "1e9", "=1+1", "1_0", "٣", "9999999")],
    ("student,task,points\nAda,4,1\n", "points or a comment; its task should be an exercise"),
    ("student,task,due\nAda,4/softmax,2026-10-01\n", "a time; its task should be a lesson"),
    ("student,task,points\nZoe,4/softmax,1\n", "nor a roster has a student 'zoe'"),
    ("student,id,due\nAda,1,\nZoe,,2026-10-01\n", "nor a roster has a student 'zoe'"),
    ("student,task,points\nAda,4/softmax,1\nada,4/softmax,2\n", "second row for ada, 4/softmax"),
    ("student,received\nAda,yesterday\n", "received 'yesterday'; write it as 2026-10-01T23:59"),
    ("student,task,received\nAda,7,2026-10-01\n", "no lesson or exercise '7'"),
    ("student,task,received\nAda,4,2026-10-01\n", "one has a time zone"),
])
def test_a_table_that_cannot_be_meant_is_one_line(course, text, words):
    refuses(re.escape(words), table_of, course, text, "Ada")  # before the grading, which can take an hour


def test_a_grading_reads_the_table_beside_its_course(course, printed, refused):
    Path("subs/Ada/00_setup").mkdir(parents=True)
    Path("subs/Ada/00_setup/exercise.py").write_text("def add(x, y):\n    return x\n")
    Path("students.csv").write_text("student,task,points\nAda,,\nBob,,\nada,0/add,0.5\nBob,4/softmax,0.25\n")
    assert "Bob: nothing was handed in" in printed("course", "grade", "subs", "--out", "out")
    assert [row[5:7] for row in read("grades.csv")[1:]] == [["0.5", "4"], ["0.25", "4"]]
    Path("students.csv").write_text("student,task,points\nZoe,0/add,\n")
    assert "students.csv, line 2: neither" in refused("course", "grade", "subs", "--out", "new")
    assert not Path("new").exists()


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=9)  # never in a spreadsheet


@given(rows=st.lists(st.lists(texts, min_size=2, max_size=2), max_size=5), separator=st.sampled_from(",;\t"),
       end=st.sampled_from(["\n", "\r\n"]), mark=st.booleans())
def test_whatever_a_spreadsheet_writes_is_read_back(tmp_path_factory, rows, separator, end, mark):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows([["Student", "x"], *rows])
    path = tmp_path_factory.mktemp("sheet") / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" * mark + text.getvalue().encode())
    wanted = [[" ".join(value.split()) for value in row] for row in rows]
    found = [[row.cells["student"], row.cells["x"]] for row in read_rows(path)]
    assert found == [row for row in wanted if any(row)]


@given(st.text(st.sampled_from("=+-@ab ,;\t\r\n\"'")) | st.text() | st.text(st.sampled_from("＝＋－＠ 1")))
def test_no_text_is_a_formula_in_a_table(text):
    (row,) = csv.reader(io.StringIO(as_csv([[text, "x"]]), newline=""))
    line = " ".join(text.split())
    assert row[0] in (line, "'" + line) and row[0].lstrip()[:1] not in tuple("=+-@＝＋－＠")


def test_a_page_shows_the_beginning_of_a_huge_file_only():
    """A file of 2 MB was once split into lines for every exercise, which took seconds for each page."""
    assert code(b"\n" * 2**21).count("\n") == MOST_LINES
