"""`course.toml`: which lessons and tasks count, for how many points, until when, and the secret seed.

Whoever knows the seed knows the hidden inputs, so the file is never handed out: a release does not hold it.
"""

import datetime
import hashlib
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tinyllm.course.syllabus import Lesson, find_lesson, ready, syllabus
from tinyllm.errors import UserError

COURSE_FILE = "course.toml"
HEAD = """# A course: what counts, for how many points, and until when.
# Keep this file to yourself.
#
# seed       decides the hidden inputs of every student; whoever knows it
#            knows them
# variants   how many different sets of hidden inputs there are; each student
#            always meets the same one
# partial    whether a task that is right on ordinary input earns the share of
#            "right on ..." that hold
# due        is shown to students and judged by nobody: the times of files are
#            set by whoever zips them, so only the system that collected a
#            submission knows when it came
# points     of each task; leave out the tasks that do not count

title = "A course on language models"
seed = {seed}
variants = 8
partial = false
"""


@dataclass(frozen=True)
class Part:
    """One lesson of a course: its tasks' points by name, and when it is due."""

    lesson: Lesson
    points: dict[str, float]
    due: str = ""


@dataclass(frozen=True)
class Course:
    """A course. `parts` are in the order of the lessons. seed None: drawn where submissions are graded."""

    title: str
    seed: int | None
    variants: int
    partial: bool
    parts: tuple[Part, ...]

    @property
    def total(self) -> float:
        """Return the sum of all points."""
        return sum(sum(part.points.values()) for part in self.parts)

    def variant(self, student: str) -> int:
        """Return the seed of one student's hidden inputs: from 1, the same on every call."""
        if self.seed is None:
            raise ValueError("a course without a seed has no hidden inputs")
        number = _digest(f"{self.seed}/{student}") % self.variants
        return 1 + _digest(f"{self.seed}#{number}") % 2**31


def _digest(text):
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def new_course() -> str:
    """Return the text of a course file with every lesson, a point for each task, and a fresh seed -> str."""
    lines = [HEAD.format(seed=new_seed())]
    for lesson in syllabus():
        points = "".join(f"{task.name} = 1\n" for task in lesson.tasks if ready(task))
        lines.append(f'\n[[lesson]]\nnumber = {lesson.number}\ndue = ""\n[lesson.points]\n{points}')
    return "".join(lines)


def new_seed() -> int:
    """Return a number that nobody can guess."""
    return secrets.randbits(48)


def whole_course() -> Course:
    """Return the course that needs no file: every lesson, a point for each task, and no seed."""
    parts = tuple(
        Part(lesson, {task.name: 1 for task in lesson.tasks if ready(task)}) for lesson in syllabus()
    )
    return Course("tinyllm", None, 1, False, parts)


def load_course(path: str | Path) -> Course:
    """Read a course file -> Course. Raises UserError for what is not there, not TOML, or not known."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}; `tinyllm course init` writes one") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read as TOML: {why}") from None
    known = {"title", "seed", "variants", "partial", "lesson"}
    _refuse_unknown(path, "the course", data.keys(), known)
    lessons = data.get("lesson")
    if not isinstance(lessons, list) or not lessons or not all(isinstance(x, dict) for x in lessons):
        raise UserError(f"{path} names no lessons: it needs at least one [[lesson]]")
    parts = [_part(path, fields) for fields in lessons]
    numbers = [part.lesson.number for part in parts]
    for number in numbers:
        if numbers.count(number) > 1:
            raise UserError(f"{path} names lesson {number} twice; put its tasks into one [[lesson]]")
    variants = _field(path, data, "variants", int, 1)
    if variants < 1:
        raise UserError(f"{path}: variants must be 1 or more, not {variants}")
    if "seed" not in data:  # a seed that is the same for every course is known to every student
        add = f"add this line at its top, and keep the file to yourself: seed = {new_seed()}"
        raise UserError(f"{path} has no secret seed, from which hidden inputs are drawn; {add}")
    return Course(
        title=_field(path, data, "title", str, "tinyllm"),
        seed=_field(path, data, "seed", int, 0),
        variants=variants,
        partial=_field(path, data, "partial", bool, False),
        parts=tuple(sorted(parts, key=lambda part: part.lesson.number)),
    )


def _refuse_unknown(path, where, keys, known):
    for key in keys:
        if key not in known:
            raise UserError(f"{path}: {where} has no setting {key!r}; it has {', '.join(sorted(known))}")


def _field(path, fields, name, kind, default):
    value = fields.get(name, default)
    if type(value) is not kind:
        raise UserError(f"{path}: {name} should be of type {kind.__name__}, not {value!r}")
    return value


def _part(path, fields):
    _refuse_unknown(path, "a lesson", fields.keys(), {"number", "due", "points"})
    if "number" not in fields:
        raise UserError(f"{path}: a [[lesson]] needs a number, such as number = 4")
    try:
        lesson = find_lesson(fields["number"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    points = fields.get("points", {task.name: 1 for task in lesson.tasks})
    if not isinstance(points, dict) or not points:
        raise UserError(f"{path}: lesson {lesson.number} needs points = {{ task = number, ... }}")
    for name, value in points.items():
        lesson.task(name)
        if type(value) not in (int, float) or not 0 <= value < 1e6:
            raise UserError(f"{path}: {name} should have 0 points or more, not {value!r}")
    due = fields.get("due", "")
    if isinstance(due, datetime.date):
        due = due.isoformat()
    if not isinstance(due, str):
        raise UserError(f"{path}: due should be a date such as 2026-10-01, not {due!r}")
    return Part(lesson, dict(points), due)
