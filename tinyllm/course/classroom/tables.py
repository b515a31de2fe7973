"""Write tables of grades as CSV: grades.csv, tasks.csv, and those that Canvas and Moodle import.

A row is a dict {column: text}. No text from students becomes a formula in a spreadsheet.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

from tinyllm.course.classroom.feedback import headline, is_override, number
from tinyllm.course.classroom.students import points_of

Record = dict[str, Any]
# Column in another system -> columns of the roster, of which the first with a text is shown, or `student`.
CANVAS = {"Student": ("name", "student"), "ID": ("id",), "SIS User ID": ("sis user id",),
          "SIS Login ID": ("sis login id", "student"), "Section": ("section",)}
MOODLE = {"Username": ("username", "student"), "Full name": ("name",), "ID number": ("id number", "id"),
          "Email address": ("email address", "email")}


def as_csv(rows: Sequence[dict[str, str]]) -> str:
    """Format rows as CSV; the columns are those of the first row."""
    text = io.StringIO()
    lines = [list(rows[0]), *(row.values() for row in rows)]
    csv.writer(text, lineterminator="\n").writerows([cell(each) for each in line] for line in lines)
    return text.getvalue()


def cell(text: str) -> str:
    """Return a text as one line for a cell of a spreadsheet, changed if it could be read as a formula.

    Line breaks become spaces: `csv` does not quote a lone carriage return, which would begin another cell.
    """
    line = " ".join(text.split())
    return "'" + line if line[:1] in tuple("=+-@＝＋－＠") else line  # also full-width signs


def grades(records: Sequence[Record]) -> str:
    """Return grades.csv, with a column for each lesson."""
    rows = []
    for record, student, sums in zip(records, people(records), totals(records), strict=True):
        remarks = {"isolation": isolation(record), "note": note(record)}
        rows.append(student | by_lesson(record, "lesson_{:02}") | sums | remarks)
    return as_csv(rows)


def tasks(records: Sequence[Record]) -> str:
    """Return tasks.csv, with a column for each exercise."""
    rows = []
    for record, student, sums in zip(records, people(records), totals(records), strict=True):
        points = {name: number(task["points"]) for name, task in tasks_of(record)}
        rows.append(student | points | sums | {"overrides": overrides(record)})
    return as_csv(rows)


def canvas(results: Record) -> str:
    """Return points as CSV for Canvas, as one assignment that has the name of the course."""
    records, course = results["submissions"], results["course"]
    above = dict.fromkeys(CANVAS, "") | {"Student": "Points Possible", course: number(records[0]["of"])}
    rows = [known(CANVAS, record) | {course: number(record["points"])} for record in records]
    return as_csv([above, *rows])


def without_id(results: Record) -> str:
    """Return a remark on students without an ID, whom Canvas must recognize by their names, or ""."""
    found = [known(CANVAS, record) for record in results["submissions"]]
    names = [cell(each["Student"]) for each in found if not each["ID"]]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    said = f"{', '.join(names[:5])}{more}"
    return f"no ID, because the roster has no column id for them: {said}" if names else ""


def moodle(results: Record) -> str:
    """Return points and comments as CSV, with the columns that Moodle uses to import grades."""
    return as_csv([
        known(MOODLE, record) | by_lesson(record, "Lesson {}")
        | {results["course"]: number(record["points"]), "Feedback comments": comment(record)}
        for record in results["submissions"]
    ])


def known(columns: dict[str, tuple[str, ...]], record: Record) -> dict[str, str]:
    """Return what the roster says about a student, in the columns of another system."""
    cells = record["roster"] | {"student": record["student"]}
    return {head: next((cells[name] for name in names if cells.get(name)), "")
            for head, names in columns.items()}


def people(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return the student of each record, with all columns of the roster."""
    roster = dict.fromkeys([name for record in records for name in record["roster"]], "")
    return [{"student": record["student"]} | roster | record["roster"] for record in records]


def totals(records: Sequence[Record]) -> list[dict[str, str]]:
    """Return the sums of each record; those of late days only if there are any."""
    late = any(lesson["late_days"] is not None for record in records for lesson in record["lessons"])
    return [{name: number(sum(lesson[name] or 0 for lesson in record["lessons"]))
             for name in ("late_days", "deducted") if late}
            | {"points": number(record["points"]), "of": number(record["of"])} for record in records]


def by_lesson(record: Record, head: str) -> dict[str, str]:
    """Return the points of each lesson, minus those for late days; `head` formats its number."""
    return {head.format(lesson["lesson"]): number(points_of(lesson)) for lesson in record["lessons"]}


def tasks_of(record: Record) -> list[tuple[str, Record]]:
    """Return pairs (name such as "4/softmax", exercise) of a record."""
    return [(f"{lesson['lesson']}/{task['task']}", task)
            for lesson in record["lessons"] for task in lesson["tasks"]]


def isolation(record: Record) -> str:
    """Return how a student's code was isolated."""
    return record["isolation"] + " (stops accidents only)" * (record["isolation"] == "plain")


def note(record: Record) -> str:
    """Return what an instructor should know about a submission, or ""."""
    return "; ".join(filter(None, (record["problem"], record["remark"])))


def comment(record: Record) -> str:
    """Return in a line how each exercise went, or why nothing was graded."""
    found = [f"{task['task']}: {headline(task)}" for _, task in tasks_of(record)]
    return record["problem"] or "; ".join(found)


def overrides(record: Record) -> str:
    """Return the points that an instructor set in place of the check's: "4/softmax: 2 for 0, comment"."""
    said = []
    for name, task in tasks_of(record):
        if is_override(task):
            both = f"{number(task['points'])} for {number(task['checked'])}"
            said.append(f"{name}: {', '.join(filter(None, (both, task['comment'])))}")
    return "; ".join(said)
