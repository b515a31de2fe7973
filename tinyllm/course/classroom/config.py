"""Read `course.toml`: the lessons and exercises that count, their points and due dates, and the secret seed.

The seed determines the hidden inputs, so a release for students does not contain this file.
"""

import datetime
import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from tinyllm.config import bounded, check, conform, setting
from tinyllm.course.own_tasks import load_lesson
from tinyllm.course.syllabus import Lesson, find_lesson, syllabus
from tinyllm.errors import UserError
from tinyllm.files import read_toml

COURSE_FILE = "course.toml"
POINTS = bounded(float, min=0, below=1e6)  # of an exercise
DAY = datetime.timedelta(days=1)
HEAD = """# A course: what counts, for how many points, and until when. Keep it to
# yourself: the seed decides the hidden inputs of every student.
#
# variants   how many different sets of hidden inputs there are
# points_per_late_day   what each day begun after `due` costs; students.csv
#            says when a submission came: see lessons/README.md
# due        a date, or a time, in quotes: "2026-10-01T23:59"
# folder     of exercises of your own, instead of a number
# points     of each exercise; leave out the exercises that do not count

title = "A course on language models"
seed = {seed}
variants = 8
points_per_late_day = 0
"""


@dataclass(frozen=True)
class Part:
    """A lesson of a course, with the points of each exercise and the due date."""

    lesson: Lesson
    points: dict[str, float]
    due: str = ""


@dataclass(frozen=True)
class Course:
    """A course; its `parts` are in the order of the lessons. Without a seed it cannot be graded."""

    parts: tuple[Part, ...]
    title: str = "tinyllm"
    seed: int | None = setting(None, min=0)
    variants: int = setting(1, min=1, max=10**6)
    points_per_late_day: float = setting(0.0, min=0, below=1e6)

    @property
    def lessons(self) -> list[Lesson]:
        """Return the lessons of all parts."""
        return [part.lesson for part in self.parts]

    @property
    def total(self) -> float:
        """Return the sum of all points."""
        return sum(sum(part.points.values()) for part in self.parts)

    def variant(self, student: str) -> int:
        """Return the seed of a student's hidden inputs: a number of at least 1, always the same."""
        if self.seed is None:
            raise ValueError("a course without a seed has no hidden inputs")
        number = _digest(f"{self.seed}/{student}") % self.variants
        return 1 + _digest(f"{self.seed}#{number}") % 2**31


def _digest(text):
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def new_course(lessons: Iterable[Lesson]) -> str:
    """Return the text of a course file with lessons, a point for each exercise, and a fresh seed."""
    lines = [HEAD.format(seed=secrets.randbits(48))]
    for lesson in lessons:
        points = "".join(f"{task.name} = 1\n" for task in lesson.tasks)
        lines.append(f'\n[[lesson]]\nnumber = {lesson.number}\ndue = ""\n[lesson.points]\n{points}')
    return "".join(lines)


def whole_course() -> Course:
    """Return the course of a self-test without a file: every lesson, a point for each exercise, no seed."""
    return Course(tuple(Part(lesson, {task.name: 1 for task in lesson.tasks}) for lesson in syllabus()))


def load_course(path: str | Path = COURSE_FILE) -> Course:
    """Read a course file. Raises UserError if it is missing, is not TOML, or has unknown settings."""
    path = Path(path)
    if not os.path.lexists(path):
        raise UserError(f"there is no {path}; `tinyllm course init` writes one")
    data = read_toml(path, {"lesson": [{}]})
    try:
        parts = [_part(path.parent, **each) for each in data.pop("lesson")]
        _refuse_unknown("the course", data, [field.name for field in fields(Course) if field.name != "parts"])
        course = Course(tuple(sorted(parts, key=lambda part: part.lesson.number)), **data)
        check(course)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    numbers = [part.lesson.number for part in parts]
    if not numbers or len(set(numbers)) < len(numbers):
        raise UserError(f"{path} should have one [[lesson]] for each lesson, not for lessons {numbers}")
    if course.seed is None:  # there is no default, because students would know it
        add = f"add this line at its top, and keep the file to yourself: seed = {secrets.randbits(48)}"
        raise UserError(f"{path} has no secret seed, from which hidden inputs are drawn; {add}")
    return course


def _part(here, /, number=None, folder=None, points=None, due="", **more):
    _refuse_unknown("a lesson", more, ("number", "folder", "points", "due"))
    if (number is None) == (folder is None) or not isinstance(folder or "", str):
        raise UserError("a [[lesson]] needs a number, such as number = 4, or a folder of your own exercises")
    lesson = find_lesson(number) if folder is None else load_lesson(here / folder)
    points = {task.name: 1 for task in lesson.tasks} if points is None else points
    conform({"points": points, "due": due}, {"points": {str: POINTS}, "due": str}, f"lesson {lesson.number}")
    if not points:
        raise UserError(f"lesson {lesson.number} has no points: name its exercises, or leave it out")
    for name in points:
        lesson.task(name)
    moment(due, "due is")
    return Part(lesson, points, due)


def _refuse_unknown(what, found, known):
    if unknown := sorted(found.keys() - set(known)):
        raise UserError(f"{what} has no setting {unknown[0]!r}; it has {', '.join(known)}")


def moment(text: str, what: str, end: bool = False) -> datetime.datetime | None:
    """Read a time such as 2026-10-01T23:59. A date alone means the day's start, or with `end` its end."""
    try:
        found = datetime.datetime.fromisoformat(text) if text else None
        return found + DAY if found and end and len(text) <= len("2026-10-01") else found
    except (ValueError, OverflowError):
        raise UserError(f"{what} {text[:40]!r}; write it as 2026-10-01T23:59") from None
