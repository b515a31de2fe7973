"""Apply an instructor's tables to graded submissions: the roster, points set by hand, and arrival times.

The tables are files beside the course file. Each grading reads them again, so a decision that was made once
also holds later. Records keep the points from the check beside the points set by hand.
"""

import datetime
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyllm.course.classroom.collect import Submission, student_name
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.classroom.grading import MISSING, empty_record
from tinyllm.course.classroom.sheets import SheetRow, read_points, read_sheet
from tinyllm.errors import UserError

DAY = datetime.timedelta(days=1)
STRANGER = "not in the roster"


@dataclass
class Adjustments:
    """The content of the tables. A student is identified by the name of the submission, ignoring case.

    roster: {student: (name, {column: cell})}, or None.
    overrides: {(student, lesson, task): (points or None, comment)}.
    late: {(student, lesson): days}.
    where: {student: table and line that name the student}, for messages.
    """

    roster: dict[str, tuple[str, dict[str, str]]] | None = None
    overrides: dict[tuple[str, int, str], tuple[float | None, str]] = field(default_factory=dict)
    late: dict[tuple[str, int], int] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)


def find_tables(course_file: str | None, given: dict[str, str | None]) -> dict[str, Path]:
    """Return the paths of the tables to read: the given ones, else roster.csv etc. beside the course file.

    given: {"roster": path or None, ...}.
    """
    beside = Path(course_file or ".").parent if course_file else Path()
    found = {name: Path(path) if path else beside / f"{name}.csv" for name, path in given.items()}
    return {name: path for name, path in found.items() if given[name] or os.path.lexists(path)}


def read_tables(course: Course, tables: dict[str, Path]) -> Adjustments:
    """Read tables such as the roster. Raises UserError that names the table and line that are wrong."""
    found = Adjustments()
    if "roster" in tables:
        rows = read_sheet(tables["roster"], "student")
        found.roster = {}
        for row in rows:
            key = student_key(row)
            once(found.roster, key, row)
            more = {name: value for name, value in row.cells.items() if name and name != "student"}
            found.roster[key] = student_name(row.cells["student"]), more
    for row in read_sheet(tables["overrides"], "student", "task", "points") if "overrides" in tables else ():
        part, task = find_task(course, row)
        place = student_key(row), part.lesson.number, task
        once(found.overrides, place, row)
        points = read_points(row, "points") if row.cells["points"] else None
        if points is None and not row.cells.get("comment"):
            raise UserError(f"{row.where} has neither points nor a comment")
        found.overrides[place] = points, row.cells.get("comment", "")
        found.where[place[0]] = row.where
    for row in read_sheet(tables["received"], "student", "time") if "received" in tables else ():
        for pair, days in late_days(course, row):
            once(found.late, pair, row)
            found.late[pair] = days
            found.where[pair[0]] = row.where
    return found


def student_key(row: SheetRow) -> str:
    """Return the student of a row, in a normal form for comparing. Raises UserError if the cell is empty."""
    if not row.cells["student"]:
        raise UserError(f"{row.where} names no student")
    return student_name(row.cells["student"]).casefold()


def once(found: dict, place: Any, row: SheetRow) -> None:
    """Raise UserError if `found` already has `place`, such as a student, or (student, lesson, exercise)."""
    if place in found:
        depth = 1 if isinstance(place, str) else len(place)
        about = " and this ".join(("student", "lesson", "task")[:depth])
        raise UserError(f"{row.where} is the second row for this {about}; keep one")


def find_task(course: Course, row: SheetRow) -> tuple[Part, str]:
    """Return the lesson and the name of the exercise that a row names as "softmax" or "4/softmax"."""
    number, _, name = row.cells["task"].rpartition("/")
    found = [part for part in course.parts
             if name in part.points and number in ("", str(part.lesson.number))]
    if len(found) == 1:
        return found[0], name
    every = [f"{part.lesson.number}/{name}" for part in found or course.parts for name in part.points]
    tasks = ", ".join(every)[:200]
    what = "several exercises are called" if found else "the course has no exercise"
    raise UserError(f"{row.where}: {what} {row.cells['task'][:40]!r}; it has {tasks}")


def late_days(course: Course, row: SheetRow) -> list[tuple[tuple[str, int], int]]:
    """Return [((student, lesson), days late)] for the lessons of a row, with days rounded up."""
    parts = [part for part in course.parts if row.cells.get("lesson") in (None, "", str(part.lesson.number))]
    if not parts:
        raise UserError(f"{row.where}: the course has no lesson {row.cells['lesson'][:20]!r}")
    came = moment(row.cells["time"], f"{row.where}: time")
    found = []
    for part in parts:
        late = datetime.timedelta()
        if part.due:
            due = moment(part.due, f"{row.where}: lesson {part.lesson.number} is due", end=True)
            if (came.tzinfo is None) != (due.tzinfo is None):
                raise UserError(f"{row.where}: of {came} and the due date {due}, only one has a time zone")
            late = max(came - due, late)
        found.append(((student_key(row), part.lesson.number), math.ceil(late / DAY)))
    return found


def moment(text: str, what: str, end: bool = False) -> datetime.datetime:
    """Read a time such as 2026-10-01T23:59. A date alone means the day's start, or with `end` its end."""
    try:
        found = datetime.datetime.fromisoformat(text)
        return found + DAY if end and len(text) <= len("2026-10-01") else found
    except (ValueError, OverflowError):
        raise UserError(f"{what} {text[:40]!r}; write it as 2026-10-01T23:59") from None


def check_students(found: Adjustments, students: Iterable[str]) -> None:
    """Raise UserError if a table names a student who is neither in the roster nor one of `students`."""
    known = {student.casefold() for student in students} | (found.roster or {}).keys()
    for key, where in found.where.items():
        if key not in known:
            raise UserError(f"{where}: neither a submission nor a roster has a student {key[:60]!r}")


def adjust(found: Adjustments, course: Course, level: str,
           records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Apply an instructor's tables to records, and add a record for each student who handed in nothing."""
    records = list(records)  # "Ada" and "ADA" have two records
    known = {record["student"].casefold() for record in records}
    records += [empty_record(Submission(student, Path()), course, level, MISSING)
                for key, (student, _) in (found.roster or {}).items() if key not in known]
    for record in records:
        key = record["student"].casefold()
        if found.roster is not None:
            record["roster"] = found.roster[key][1] if key in found.roster else {}
            record["remark"] = "" if key in found.roster else STRANGER
        for lesson in record["lessons"]:
            adjust_lesson(found, course, key, lesson)
        total = sum(points_of(lesson) for lesson in record["lessons"])
        record["points"] = round(total, 6)
    return sorted(records, key=lambda record: (record["student"].casefold(), record["student"]))


def adjust_lesson(found: Adjustments, course: Course, key: str, lesson: dict[str, Any]) -> None:
    """Apply an instructor's tables to one lesson of a record, in place."""
    for task in lesson["tasks"]:
        points, comment = found.overrides.get((key, lesson["lesson"], task["task"]), (None, ""))
        if points is not None or comment:
            task["override"] = {"checked": task["points"], "comment": comment}
            task["points"] = task["points"] if points is None else points
    if (key, lesson["lesson"]) in found.late:
        days = found.late[key, lesson["lesson"]]
        earned = sum(task["points"] for task in lesson["tasks"])
        lesson |= {"late_days": days, "deducted": min(earned, days * course.points_per_late_day)}


def points_of(lesson: dict[str, Any]) -> float:
    """Return the points of one lesson of a record, minus the deduction for late days."""
    return sum(task["points"] for task in lesson["tasks"]) - lesson.get("deducted", 0)
