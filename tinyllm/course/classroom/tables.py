"""Write tables of grades as CSV: grades.csv, tasks.csv, and those that Canvas and Moodle import.

No text from students becomes a formula in a spreadsheet.
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
TOTALS = "late_days", "deducted", "points", "of"


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


def grades(records: Sequence[Record]) -> str:
    """Return grades.csv, with a column for each lesson."""
    head = [f"lesson_{lesson['lesson']:02}" for lesson in records[0]["lessons"]]
    rows = [[*by_lesson(record), *totals(record), isolation(record), note(record)] for record in records]
    return of_students(records, [*head, *TOTALS, "isolation", "note"], rows)


def tasks(records: Sequence[Record]) -> str:
    """Return tasks.csv, with a column for each exercise."""
    head = [name for name, _ in tasks_of(records[0])]
    rows = [[*(number(task["points"]) for _, task in tasks_of(record)), *totals(record), overrides(record)]
            for record in records]
    return of_students(records, [*head, *TOTALS, "overrides"], rows)


def of_students(records: Sequence[Record], head: list[str], rows: list[list[str]]) -> str:
    """Format rows as CSV, each after its student and all columns of the roster."""
    roster = list(dict.fromkeys(name for record in records for name in record["roster"]))
    people = [[record["student"], *(record["roster"].get(name, "") for name in roster)] for record in records]
    return as_csv([["student", *roster, *head], *map(list.__add__, people, rows)])


def canvas(results: Record) -> str:
    """Return points as CSV for Canvas, as one assignment that has the name of the course."""
    records = results["submissions"]
    above = ["Points Possible", *[""] * (len(CANVAS) - 1), number(records[0]["of"])]
    rows = [[*known(CANVAS, record), number(record["points"])] for record in records]
    return as_csv([[*CANVAS, results["course"]], above, *rows])


def without_id(results: Record) -> str:
    """Return a remark on students without an ID, whom Canvas must recognize by their names, or ""."""
    names = [record["student"] for record in results["submissions"] if not record["roster"].get("id")]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    said = f"{', '.join(map(cell, names[:5]))}{more}"
    return f"no ID, because the roster has no column id for them: {said}" if names else ""


def moodle(results: Record) -> str:
    """Return points and comments as CSV, with the columns that Moodle uses to import grades."""
    records = results["submissions"]
    lessons = [f"Lesson {lesson['lesson']}" for lesson in records[0]["lessons"]]
    rows = [[*known(MOODLE, record), *by_lesson(record), number(record["points"]), comment(record)]
            for record in records]
    return as_csv([[*MOODLE, *lessons, results["course"], "Feedback comments"], *rows])


def known(columns: dict[str, tuple[str, ...]], record: Record) -> list[str]:
    """Return what the roster says about a student, in the columns of another system."""
    cells = record["roster"] | {"student": record["student"]}
    return [next((cells[name] for name in names if cells.get(name)), "") for names in columns.values()]


def totals(record: Record) -> list[str]:
    """Return the sums over the lessons of a record, in the columns TOTALS."""
    late = [sum(lesson[name] or 0 for lesson in record["lessons"]) for name in ("late_days", "deducted")]
    return [*map(number, late), number(record["points"]), number(record["of"])]


def by_lesson(record: Record) -> list[str]:
    """Return the points of each lesson, minus those for late days."""
    return [number(points_of(lesson)) for lesson in record["lessons"]]


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
