"""Read `course.toml`: the lessons and exercises that count, their points and due dates, and the secret seed.

The seed determines the hidden inputs, so a release for students does not contain this file.
"""

import datetime
import hashlib
import itertools
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from tinyllm.course.own_tasks import load_lesson
from tinyllm.course.syllabus import Lesson, find_lesson, syllabus
from tinyllm.errors import UserError
from tinyllm.files import read_toml

COURSE_FILE = "course.toml"
MOST = 10**6  # variants of a course
HEAD = """# A course: what counts, for how many points, and until when.
# Keep this file to yourself.
#
# seed       decides the hidden inputs of every student; whoever knows the
#            seed knows them
# variants   how many different sets of hidden inputs there are; each student
#            always meets the same one
# partial    whether an exercise that is right on ordinary input earns the
#            share of "correct ..." that hold
# points_per_late_day   what each day begun after `due` costs
# due        a date, or a time such as 2026-10-01T23:59. Only the system that
#            collected a submission knows when it came: `course grade` reads
#            that from students.csv beside this file and counts late days
# folder     of exercises of your own, instead of a number: see
#            `tinyllm course task new`
# points     of each exercise; leave out the exercises that do not count

title = "A course on language models"
seed = {seed}
variants = 8
partial = false
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
    """A course; its `parts` are in the order of the lessons. If `seed` is None, grading chooses one."""

    title: str
    seed: int | None
    variants: int
    partial: bool
    parts: tuple[Part, ...]
    points_per_late_day: float = 0

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


def new_course() -> str:
    """Return the text of a course file with every lesson, a point for each exercise, and a fresh seed."""
    lines = [HEAD.format(seed=new_seed())]
    for lesson in syllabus():
        points = "".join(f"{task.name} = 1\n" for task in lesson.tasks)
        lines.append(f'\n[[lesson]]\nnumber = {lesson.number}\ndue = ""\n[lesson.points]\n{points}')
    return "".join(lines)


def new_seed() -> int:
    """Return a number that nobody can guess."""
    return secrets.randbits(48)


def whole_course() -> Course:
    """Return the course that is used without a file: every lesson, a point for each exercise, and no seed."""
    parts = (Part(lesson, {task.name: 1 for task in lesson.tasks}) for lesson in syllabus())
    return Course("tinyllm", None, 1, False, tuple(parts))


def load_course(path: str | Path) -> Course:
    """Read a course file. Raises UserError if it is missing, is not TOML, or has unknown settings."""
    path = Path(path)
    if not os.path.lexists(path):
        raise UserError(f"there is no {path}; `tinyllm course init` writes one")
    data = read_toml(path)
    try:
        return _course(data, path.parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _course(data, here):
    found = _fields("the course", data, title="tinyllm", seed=0, variants=1, partial=False, lesson=[],
                    points_per_late_day=0.0)
    lessons = found.pop("lesson")
    if not lessons or not all(isinstance(fields, dict) for fields in lessons):
        raise UserError("it names no lessons: it needs at least one [[lesson]]")
    parts = sorted((_part(here, **fields) for fields in lessons), key=lambda part: part.lesson.number)
    for one, other in itertools.pairwise(parts):
        if one.lesson.number == other.lesson.number:
            raise UserError(f"it names lesson {one.lesson.number} twice; put all into one [[lesson]]")
    if not 1 <= found["variants"] <= MOST:
        raise UserError(f"variants must be from 1 to {MOST:,}, not {found['variants']}")
    if found["seed"] < 0:
        raise UserError(f"seed must be 0 or more, not {found['seed']}")
    if not 0 <= found["points_per_late_day"] < 1e6:
        raise UserError(f"points_per_late_day must be 0 or more, not {found['points_per_late_day']}")
    if "seed" not in data:  # a seed that is the same for every course is known to every student
        add = f"add this line at its top, and keep the file to yourself: seed = {new_seed()}"
        raise UserError(f"it has no secret seed, from which hidden inputs are drawn; {add}")
    return Course(parts=tuple(parts), **found)


def _fields(where, given, **defaults):
    """Return the given values and defaults for the others. Raises UserError on another name or type."""
    for name, value in given.items():
        if name not in defaults:
            raise UserError(f"{where} has no setting {name!r}; it has {', '.join(sorted(defaults))}")
        if type(value) is not (kind := type(defaults[name])) and (kind, type(value)) != (float, int):
            raise UserError(f"{name} should be of type {kind.__name__}, not {value!r}")
    return defaults | given


def _part(here, number=None, folder=None, points=None, due="", **more):
    _fields("a lesson", more, number=0, folder="", due="", points={})  # `more` are unknown settings
    if (number is None) == (folder is None) or not isinstance(folder or "", str):
        raise UserError('a [[lesson]] needs a number, such as number = 4, or a folder of your own exercises')
    lesson = find_lesson(number) if folder is None else load_lesson(here / folder)
    points = {task.name: 1 for task in lesson.tasks} if points is None else points
    if not isinstance(points, dict) or not points:
        raise UserError(f"lesson {lesson.number} needs points = {{ task = number, ... }}")
    for name, value in points.items():
        lesson.task(name)
        if type(value) not in (int, float) or not 0 <= value < 1e6:
            raise UserError(f"{name} should have 0 points or more, not {value!r}")
    try:
        if due != "":
            datetime.datetime.fromisoformat(due)
    except (ValueError, TypeError):
        raise UserError(f"due should be a date such as 2026-10-01, not {due!r}") from None
    return Part(lesson, points, due)
