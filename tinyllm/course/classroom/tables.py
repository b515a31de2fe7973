"""Write tables of grades as CSV: grades.csv, tasks.csv, and those that Canvas and Moodle import.

A table is a list of columns. No text from students becomes a formula in a spreadsheet.
"""

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from tinyllm.course.classroom.feedback import headline, number
from tinyllm.course.classroom.students import points_of

Record = dict[str, Any]
# Head in another system -> columns of the roster, of which the first with a text is shown, or `student`.
CANVAS = {"Student": ("name", "student"), "ID": ("id",), "SIS User ID": ("sis user id",),
          "SIS Login ID": ("sis login id", "student"), "Section": ("section",)}
MOODLE = {"Username": ("username", "student"), "Full name": ("name",), "ID number": ("id number", "id"),
          "Email address": ("email address", "email")}


class Column(NamedTuple):
    """A column of a table: its head, and a function that returns the cell of a student's record."""

    head: str
    text: Callable[[Record], str]


def write_table(columns: Sequence[Column], records: Sequence[Record], above: Sequence[list[str]] = ()) -> str:
    """Format records as CSV, a row for each; `above` are rows between the heads and the records."""
    rows = [[column.head for column in columns], *above]
    rows += [[column.text(record) for column in columns] for record in records]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[cell(text) for text in row] for row in rows])
    return text.getvalue()


def cell(text: str) -> str:
    """Return a text as one line for a cell of a spreadsheet, changed if it could be read as a formula.

    Line breaks become spaces: `csv` does not quote a lone carriage return, which would begin another cell.
    """
    line = " ".join(text.split())
    return "'" + line if line[:1] in tuple("=+-@＝＋－＠") else line  # also full-width signs


def grades(records: Sequence[Record]) -> str:
    """Return grades.csv, with a column for each lesson."""
    columns = [*ours(records), *by_lesson(records, "lesson_{:02}"), *sums(records)]
    columns += [Column("isolation", isolation), Column("note", note)]
    return write_table(columns, records)


def tasks(records: Sequence[Record]) -> str:
    """Return tasks.csv, with a column for each exercise."""
    columns = [Column(f"{lesson['lesson']}/{task['task']}", partial(task_points, i, j))
               for record in records[:1] for i, lesson in enumerate(record["lessons"])
               for j, task in enumerate(lesson["tasks"])]
    return write_table([*ours(records), *columns, *sums(records), Column("overrides", overrides)], records)


def canvas(results: Record) -> str:
    """Return points as CSV for Canvas, as one assignment that has the name of the course."""
    records = results["submissions"]
    possible = number(records[0]["of"]) if records else "0"
    columns = [*people(CANVAS), Column(results["course"], points)]
    return write_table(columns, records, [["Points Possible", *[""] * (len(CANVAS) - 1), possible]])


def without_id(results: Record) -> str:
    """Return a remark on students without an ID, whom Canvas must recognize by their names, or ""."""
    records = results["submissions"]
    names = [cell(known(CANVAS["Student"], record)) for record in records if not known(CANVAS["ID"], record)]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    said = f"{', '.join(names[:5])}{more}"
    return f"no ID, because the roster has no column id for them: {said}" if names else ""


def moodle(results: Record) -> str:
    """Return points and comments as CSV, with the columns that Moodle uses to import grades."""
    records = results["submissions"]
    columns = [*people(MOODLE), *by_lesson(records, "Lesson {}"), Column(results["course"], points)]
    return write_table([*columns, Column("Feedback comments", comment)], records)


def people(heads: dict[str, tuple[str, ...]]) -> list[Column]:
    """Return the columns that say in another system's words who a student is."""
    return [Column(head, partial(known, names)) for head, names in heads.items()]


def ours(records: Sequence[Record]) -> list[Column]:
    """Return the column of students, and those of the roster."""
    heads = dict.fromkeys(name for record in records for name in record.get("roster", ()))
    return people({name: (name,) for name in ("student", *heads)})


def known(names: Sequence[str], record: Record) -> str:
    """Return the first cell that is filled in, of the roster's columns with these names, or ""."""
    cells = record.get("roster", {}) | {"student": record["student"]}
    return next((cells[name] for name in names if cells.get(name)), "")


def by_lesson(records: Sequence[Record], head: str) -> list[Column]:
    """Return a column of points for each lesson, minus those for late days; `head` formats its number."""
    return [Column(head.format(lesson["lesson"]), partial(lesson_points, i))
            for record in records[:1] for i, lesson in enumerate(record["lessons"])]


def sums(records: Sequence[Record]) -> list[Column]:
    """Return the columns of sums; those of late days only if there are any."""
    late = any("late_days" in lesson for record in records for lesson in record["lessons"])
    columns = [Column(name, partial(summed, name)) for name in ("late_days", "deducted") if late]
    return [*columns, Column("points", points), Column("of", lambda record: number(record["of"]))]


def points(record: Record) -> str:
    """Return the points of a student."""
    return number(record["points"])


def lesson_points(i: int, record: Record) -> str:
    """Return the points of a student for lesson number i of the record, minus those for late days."""
    return number(points_of(record["lessons"][i]))


def task_points(i: int, j: int, record: Record) -> str:
    """Return the points of a student for exercise number j of lesson number i of the record."""
    return number(record["lessons"][i]["tasks"][j]["points"])


def summed(name: str, record: Record) -> str:
    """Return the sum of a field, such as late_days, over the lessons of a record."""
    return number(sum(lesson.get(name, 0) for lesson in record["lessons"]))


def isolation(record: Record) -> str:
    """Return how a student's code was isolated."""
    return record["isolation"] + " (stops accidents only)" * (record["isolation"] == "plain")


def note(record: Record) -> str:
    """Return what an instructor should know about a submission, or ""."""
    return "; ".join(filter(None, (record["problem"], record.get("remark"))))


def comment(record: Record) -> str:
    """Return in a line how each exercise went, or why nothing was graded."""
    found = [task for lesson in record["lessons"] for task in lesson["tasks"]]
    return record["problem"] or "; ".join(f"{task['task']}: {headline(task)}" for task in found)


def overrides(record: Record) -> str:
    """Return the points that an instructor set in place of the check's: "4/softmax: 2 for 0, comment"."""
    said = []
    for lesson in record["lessons"]:
        for task in lesson["tasks"]:
            if decided := task.get("override"):
                both = f"{number(task['points'])} for {number(decided['checked'])}"
                what = ", ".join(filter(None, (both, decided["comment"])))
                said.append(f"{lesson['lesson']}/{task['task']}: {what}")
    return "; ".join(said)
