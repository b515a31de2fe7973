"""Write what a grading found: tables for people and for other systems, results.json, and feedback.

Text from students (names, messages) is never read as a formula in a spreadsheet or as markup in a page.
"""

import csv
import io
import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyllm.course.classroom.collect import Submission, load
from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.feedback import by_hand, feedback, feedback_name, headline, number, remarks
from tinyllm.course.workers import isolation_words
from tinyllm.files import atomic_write_text
from tinyllm.report.page import write

Record = dict[str, Any]
Rows = list[list[str]]
NOTHING_YET = re.compile(r"|NotImplementedError.*|.* is missing|still empty in exercise.c")  # needs no note
# Column in another system -> columns of the roster, or `student`; the first that is not empty is shown.
CANVAS = {"Student": ("name", "student"), "ID": ("id",), "SIS User ID": ("sis user id",),
          "SIS Login ID": ("sis login id", "student"), "Section": ("section",)}
MOODLE = {"Username": ("username", "student"), "Full name": ("name",), "ID number": ("id number", "id"),
          "Email address": ("email address", "email")}


def write_results(out: str | Path, course: Course, records: Sequence[Record],
                  submissions: Sequence[Submission] = ()) -> None:
    """Write all results into a folder, with the code of submissions."""
    out = Path(out)
    (out / "feedback").mkdir(parents=True, exist_ok=True)
    results = {"course": course.title, "submissions": records}
    atomic_write_text(out / "results.json", json.dumps(results, indent=1, sort_keys=True) + "\n")
    for name, table in {"grades.csv": grades, "canvas.csv": canvas, "moodle.csv": moodle}.items():
        atomic_write_text(out / name, as_csv(table(course, records)))
    if len(records) == 1:  # Gradescope grades one submission at a time
        atomic_write_text(out / "gradescope.json", gradescope(records[0]))
    known = {submission.student: submission for submission in submissions}
    for record in records:  # last, because these files have students' names, which may cause errors
        name = record["student"]
        files = load(known[name], course.lessons).files if name in known else {}
        write(out / "feedback" / feedback_name(name), feedback(course, record, files))


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of texts as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(cell, row) for row in rows)
    return text.getvalue()


def cell(text: str) -> str:
    """Return a text as one line for a cell of a spreadsheet, changed if it could be read as a formula.

    Line breaks become spaces: `csv` does not quote a lone carriage return, which would begin another cell.
    """
    line = " ".join(text.split())
    return "'" + line if line[:1] in tuple("=+-@＝＋－＠") else line  # also full-width signs


def grades(course: Course, records: Sequence[Record]) -> Rows:
    """Return a table with all columns of the roster, and a column for each lesson and each exercise."""
    roster = list(dict.fromkeys(name for record in records for name in record["roster"]))
    head = ["student", *roster, *(f"lesson_{part.lesson.number:02}" for part in course.parts), "late_days",
            "deducted", "points", "of", "isolation", "note"]
    head += [f"{part.lesson.number}/{name}" for part in course.parts for name in part.points]
    rows = []
    for record in records:
        late = [sum(lesson[name] or 0 for lesson in record["lessons"]) for name in ("late_days", "deducted")]
        rows.append([record["student"], *(record["roster"].get(name, "") for name in roster),
                     *by_lesson(record), *map(number, [*late, record["points"], record["of"]]),
                     record["isolation"], note(record),
                     *(number(task["points"]) for _, task in tasks_of(record)), overrides(record)])
    return [[*head, "overrides"], *rows]


def export(columns: dict[str, tuple[str, ...]], course: Course, records: Sequence[Record]) -> Rows:
    """Return a table for another system: who, the points of each lesson, and their sum."""
    rows = [[*columns, *(f"Lesson {part.lesson.number}" for part in course.parts), course.title]]
    for record in records:
        cells = record["roster"] | {"student": record["student"]}
        who = (next((cells[name] for name in names if cells.get(name)), "") for names in columns.values())
        rows.append([*who, *by_lesson(record), number(record["points"])])
    return rows


def canvas(course: Course, records: Sequence[Record]) -> Rows:
    """Return a table for Canvas, with a row of the points that can be reached."""
    head, *rows = export(CANVAS, course, records)
    possible = [number(sum(part.points.values())) for part in course.parts] + [number(course.total)]
    return [head, ["Points Possible", *[""] * (len(CANVAS) - 1), *possible], *rows]


def moodle(course: Course, records: Sequence[Record]) -> Rows:
    """Return a table for Moodle, with comments."""
    said = ["Feedback comments", *map(comment, records)]
    return [[*row, text] for row, text in zip(export(MOODLE, course, records), said, strict=True)]


def gradescope(record: Record) -> str:
    """Return the results of a submission as a results.json for Gradescope."""
    tests = [{"name": name, "score": task["points"], "max_score": task["of"],
              "status": "passed" if task["state"] == "passed" else "failed",
              "output": "\n".join([headline(task), *remarks(task)]), "output_format": "text"}
             for name, task in tasks_of(record)]
    said = record["problem"] or isolation_words(record["isolation"])
    page = {"score": record["points"], "output": said, "output_format": "text", "tests": tests}
    for each in (page, *tests):
        if each["score"] is None:
            del each["score"]  # it was not graded
    return json.dumps(page, indent=1) + "\n"  # as text: a student's names must not be read as markup


def by_lesson(record: Record) -> list[str]:
    """Return the points of each lesson, minus those for late days."""
    return [number(lesson["points"]) for lesson in record["lessons"]]


def tasks_of(record: Record) -> list[tuple[str, Record]]:
    """Return pairs (name such as "4/softmax", exercise) of a record."""
    return [(f"{lesson['lesson']}/{task['task']}", task)
            for lesson in record["lessons"] for task in lesson["tasks"]]


def note(record: Record) -> str:
    """Return what an instructor should know about a submission, also why exercises were not tried, or ""."""
    untried = dict.fromkeys(f"lesson {lesson['lesson']}: {textwrap.shorten(task['message'], 120)}"
                            for lesson in record["lessons"] for task in lesson["tasks"]
                            if task["state"] not in ("passed", "failed")
                            and not NOTHING_YET.fullmatch(task["message"]))
    return "; ".join(filter(None, (record["problem"], record["remark"], *untried)))


def comment(record: Record) -> str:
    """Return in a line how each exercise went, the `note`, and what the instructor says."""
    went = [f"{task['task']}: {headline(task)}" for _, task in tasks_of(record) if not record["problem"]]
    return "; ".join(filter(None, (*went, note(record), overrides(record))))


def overrides(record: Record) -> str:
    """Return what the instructor says about each exercise, such as points in place of those of the check."""
    said = [(name, " ".join(by_hand(task))) for name, task in tasks_of(record)]
    return "; ".join(f"{name}: {words}" for name, words in said if words)
