"""Read the instructor's table of students, and merge it into the records of a grading.

The table is students.csv beside the course file. It may come from a spreadsheet of any country. A row is
about a student, about a lesson of theirs, or about one exercise:

    student,name,id,task,points,comment,received,due
    Ada,Ada Lovelace,11,,,,2026-10-02T09:00,
    Ada,,,4,,,,2026-10-15
    Ada,,,4/softmax,1.5,well explained,,

Columns may be left out. The rows without a task are the roster, with any other columns, unless they hold
only times. Records keep the points from the check beside the points set by hand.
"""

import csv
import datetime
import io
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinyllm.course.classroom.collect import Submission, student_name
from tinyllm.course.classroom.config import DAY, Course, Part, moment
from tinyllm.course.classroom.grading import new_record
from tinyllm.errors import UserError
from tinyllm.files import read_text

FILE = "students.csv"
LARGEST = 2**22  # bytes
NUMBER = re.compile(r"\d{1,6}([.,]\d{1,6})?", re.ASCII)
TIMES = {"received", "due"}
OWN = {"student", "task", "points", "comment", *TIMES}  # the columns that are not the roster's
Place = tuple[str, str, str]  # student, lesson or "", exercise or ""


class TableRow(NamedTuple):
    """A row of the table: its file and line for messages, its cells by column, and some of them parsed."""

    where: str
    cells: dict[str, str]  # with all columns in OWN
    points: float | None
    received: datetime.datetime | None
    due: datetime.datetime | None


def read_students(course: Course, path: str | Path = FILE) -> dict[Place, TableRow]:
    """Read the table of students, if there is one. Raises UserError that names the line that is wrong."""
    table: dict[Place, TableRow] = {}
    for row in read_rows(Path(path)) if os.path.lexists(path) else ():
        cells, student = row.cells, student_name(row.cells["student"]).casefold()
        if not cells["student"]:
            raise UserError(f"{row.where} names no student")
        lesson, task = find_task(course, row)
        if (student, lesson, task) in table:
            raise UserError(f"{row.where} is the second row for {student}, {cells['task'] or 'no task'}")
        if not task and (cells["points"] or cells["comment"]):
            raise UserError(f"{row.where} has points or a comment; its task should be an exercise: 4/softmax")
        if task and (cells["received"] or cells["due"]):
            raise UserError(f"{row.where} has a time; its task should be a lesson, such as 4, or empty")
        table[student, lesson, task] = row
    for student, *_ in table:
        for part in course.parts:
            days_late(table, student, part)  # so that a bad time is found before the grading
    return table


def identities(table: dict[Place, TableRow]) -> dict[str, str]:
    """Return {cell in lower case: student} of the roster's cells that only one student has, and "id CELL"."""
    found: dict[str, set[str]] = {}
    for row in roster_of(table).values():
        for column, cell in row.cells.items():
            for key in (cell.casefold(), f"{column} {cell}"):
                found.setdefault(key, set()).add(student_name(row.cells["student"]))
    return {cell: students.pop() for cell, students in found.items() if cell and len(students) == 1}


def require_known(table: dict[Place, TableRow], submissions: Sequence[Submission]) -> None:
    """Raise UserError for a row about a student who neither is in the roster nor has a submission."""
    known = {submission.student.casefold() for submission in submissions} | roster_of(table).keys()
    for (student, *_), row in table.items():
        if student not in known:
            raise UserError(f"{row.where}: neither a submission nor a roster has a student {student[:60]!r}")


def read_rows(path: Path) -> list[TableRow]:
    """Read the rows of CSV, separated by commas, semicolons or tabs. Raises UserError for a bad table."""
    text = read_text(path, LARGEST, "utf-8-sig")
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    rows, head = [], list[str]()
    try:
        for line in reader:
            where, cells = f"{path}, line {reader.line_num}", [" ".join(cell.split()) for cell in line]
            if any(cells[len(head) :]) and head:
                raise UserError(f"{where} has more cells than there are columns, {len(head)}")
            if any(cells) and head:
                rows.append(read_row(where, dict(zip(head, cells, strict=False))))
            head = head or [cell.lower() for cell in cells if any(cells)]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num} is not CSV: {error}") from None
    twice = [name for name in head if name and head.count(name) > 1]
    if "student" not in head or twice:
        wrong = f"twice {twice[0]!r}" if twice else "no 'student'"
        raise UserError(f"{path} should name the columns, such as student,name,id; it has {wrong}")
    return rows


def read_row(where: str, cells: dict[str, str]) -> TableRow:
    """Read the cells of a row: points such as 1.5 or 1,5, and times. Raises UserError for others."""
    cells = dict.fromkeys(sorted(OWN), "") | cells
    points = cells["points"]
    if points and not NUMBER.fullmatch(points):
        raise UserError(f"{where}: points should be a number such as 2 or 1.5, not {points[:40]!r}")
    times = {name: moment(cells[name], f"{where}: {name}", end=name == "due") for name in TIMES}
    return TableRow(where, cells, float(points.replace(",", ".")) if points else None, **times)


def find_task(course: Course, row: TableRow) -> tuple[str, str]:
    """Return the lesson and the exercise that a row names as "4" or "4/softmax"; "" for none."""
    wanted = row.cells["task"]
    known = [name for part in course.parts
             for name in (str(part.lesson.number), *(f"{part.lesson.number}/{task}" for task in part.points))]
    if wanted and wanted not in known:
        raise UserError(f"{row.where}: the course has no lesson or exercise {wanted[:40]!r}; "
                        f"it has {', '.join(known)[:200]}")
    lesson, _, task = wanted.partition("/")
    return lesson, task


def days_late(table: dict[Place, TableRow], student: str, part: Part) -> int | None:
    """Return the days, rounded up, that a lesson came after it was due; None if it is not known when it came.

    A row about the lesson overrides a row about the student, which overrides the course's `due`.
    """
    received, where = None, ""
    due = moment(part.due, f"lesson {part.lesson.number}: due", end=True)
    for place in ((student, "", ""), (student, str(part.lesson.number), "")):
        if row := table.get(place):
            received, due, where = row.received or received, row.due or due, row.where
    if not received or not due:
        return None if due else 0
    if (received.tzinfo is None) != (due.tzinfo is None):
        raise UserError(f"{where}: of {received}, when {student} handed in lesson {part.lesson.number}, "
                        f"and the due date {due}, only one has a time zone")
    return max(math.ceil((received - due) / DAY), 0)


def roster_of(table: dict[Place, TableRow]) -> dict[str, TableRow]:
    """Return {student: row} of the rows without a task, except those that hold only times."""
    found = {}
    for (student, lesson, _), row in table.items():
        filled = {column for column, cell in row.cells.items() if cell} - {"student"}
        if not lesson and not (filled and filled <= TIMES):
            found[student] = row
    return found


def merge(table: dict[Place, TableRow], course: Course, level: str,
          records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Apply the table to records, in place, and add one for each student who handed in nothing."""
    records = list(records)
    known = {record["student"].casefold() for record in records}
    roster = roster_of(table)
    records += [new_record(student_name(row.cells["student"]), course, level, "nothing was handed in")
                for student, row in roster.items() if student not in known]
    timed = course.points_per_late_day or any(row.received for row in table.values())  # lateness matters
    for record in records:
        student = record["student"].casefold()
        if row := roster.get(student):
            record["roster"] = {name: cell for name, cell in row.cells.items() if name and name not in OWN}
        remarks = ["not in the roster"] * bool(roster and not row)
        for part, lesson in zip(course.parts, record["lessons"], strict=True):
            merge_lesson(table, student, part, lesson, course.points_per_late_day)
            if timed and lesson["points"] is not None and lesson["late_days"] is None:
                remarks.append(f"no time `received` for lesson {part.lesson.number}, so not late")
        record["points"] = total(record["lessons"])
        record["remark"] = "; ".join(remarks)
    return sorted(records, key=lambda record: record["student"].casefold())


def merge_lesson(table: dict[Place, TableRow], student: str, part: Part, lesson: dict[str, Any],
                 price: float) -> None:
    """Apply the table to one lesson of a student's record, in place. price: points for a day late."""
    for task in lesson["tasks"]:
        if row := table.get((student, str(part.lesson.number), task["task"])):
            task |= {"comment": row.cells["comment"]} | ({} if row.points is None else {"points": row.points})
    lesson["late_days"] = days = days_late(table, student, part)
    points = total(lesson["tasks"])
    lesson["deducted"] = min(points or 0, (days or 0) * price)
    lesson["points"] = None if points is None else points - lesson["deducted"]


def total(parts: list[dict[str, Any]]) -> float | None:
    """Return the sum of the points of lessons or exercises; None if nothing was graded."""
    given = [part["points"] for part in parts if part["points"] is not None]
    return round(sum(given), 6) if given else None
