"""Read the lessons and their exercises from `lessons/syllabus.toml`."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.course.stubs import stub_file
from tinyllm.errors import UserError
from tinyllm.files import read_text, read_toml

CODE = (".py", ".c")  # the files in a lesson's folder that students get


@dataclass(frozen=True)
class ExerciseKind:
    """Say what differs between the kinds of exercises.

    judge: the module of `tinyllm.course` whose functions `cases` and `judge` check an exercise.
    file: the file that a student fills in.
    counted: the words after the counts in a verdict, as in "3 of 8 properties hold".
    cpu_seconds: the most processor time that a worker needs for a right answer.
    no_solution: why no solution is shown, or "".
    """

    judge: str
    file: str = "exercise.py"
    counted: str = "properties hold"
    cpu_seconds: int = 1
    no_solution: str = ""


MARKED = "there is no solution of {0}: a test is marked by what it catches; `tinyllm hint {1} {0}` helps"
GATHERED = "{0} is made of your own functions: their solutions are those of lessons 4 to 9"
KINDS = {
    "op": ExerciseKind("checker"),
    "c": ExerciseKind("kernels", file="exercise.c"),
    "tests": ExerciseKind("mutants", counted="mutants caught", no_solution=MARKED),
    "run": ExerciseKind("capstone", cpu_seconds=4, no_solution=GATHERED),
}


@dataclass(frozen=True)
class Exercise:
    """A function for a student to write. Files and commands of the course call it a task.

    op: the op that the function must equal, or that the property test is for.
    kind: "op", "c" (a C function), "tests" (a property test) or "run" (a training); see KINDS.
    parts: the ops that a training calls, if the exercise is one.
    """

    name: str
    op: str
    kind: str = "op"
    parts: tuple[str, ...] = ()

    @property
    def about(self) -> ExerciseKind:
        """Return the `ExerciseKind` of the exercise."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class Lesson:
    """A lesson. Its fields are explained in syllabus.toml."""

    number: int
    folder: str
    what: str
    tasks: tuple[Exercise, ...]
    minutes: int = 60
    memory: int = 600
    imports: tuple[str, ...] = ()
    previews: tuple[str, ...] = ()
    expected: tuple = ()
    mine: dict[str, Any] | None = None
    quick: bool = False
    home: str = ""  # of an instructor's lesson (see `own_tasks`): its folder, and its stub
    stub: str = ""
    heading: str = ""  # of such a lesson; others have one in lesson.py

    @property
    def title(self) -> str:
        """Return the title of the lesson, without its number."""
        return self.heading or read_text(self.path / "lesson.py").split("\n")[1].partition(". ")[2]

    @property
    def name(self) -> str:
        """Return the lesson's name in commands: its number, or the folder of an instructor's own."""
        return self.home or str(self.number)

    @property
    def path(self) -> Path:
        """Return the folder of the lesson, either in the package or the instructor's own."""
        return Path(self.home) if self.home else lessons_folder() / self.folder

    @property
    def starter(self) -> str:
        """Return the exercise.py that students receive: a file of the lesson, or stubs of its ops."""
        if self.stub or self.tasks[0].kind != "op":
            return self.stub or read_text(self.path / "exercise.py")
        return stub_file(self.number, [task.name for task in self.tasks], self._read("exercise.toml"))

    @property
    def files(self) -> dict[str, str]:
        """Return the files that students receive: {name: text}."""
        if self.home:  # the folder of an instructor's own lesson holds the reference
            return {"exercise.py": self.starter}
        there = {path.name: read_text(path) for path in sorted(self.path.iterdir()) if path.suffix in CODE}
        return there | {"exercise.py": self.starter}

    @property
    def exercise(self) -> str:
        """Return the name of the file that a student fills in."""
        return self.tasks[0].about.file

    def hints(self, task: str) -> list[str]:
        """Return the hints of an exercise, from a small hint to almost the answer."""
        return self._read("hints.toml", {str: [str]}).get(task, [])

    def _read(self, name, kind=Any):
        """Return what a file of the lesson says, or {} without such a file."""
        path = self.path / name
        return read_toml(path, kind) if path.is_file() else {}

    def broken(self, output: str) -> list[str | dict[str, Any]]:
        """Return the expectations in syllabus.toml that the output of lesson.py does not meet."""
        return [promise for promise in self.expected if not kept(promise, output)]

    def task(self, name: str) -> Exercise:
        """Return the exercise with a given name. Raises UserError if there is none."""
        named = {task.name: task for task in self.tasks}
        if name not in named:
            raise UserError(f"lesson {self.number} has no exercise {name!r}; it has {', '.join(named)}")
        return named[name]


def kept(promise: str | dict[str, Any], output: str) -> bool:
    """Return True if a lesson's output meets an expectation in syllabus.toml.

    An expectation is a text, which must occur, or {"after": words, "low": a, "high": b}: the first
    number after these words must lie between a and b.
    """
    if isinstance(promise, str):
        return promise in output
    after = output.partition(promise["after"])[2]  # "" without these words
    number = re.search(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", after)
    return number is not None and promise["low"] <= float(number[0].replace(",", "")) <= promise["high"]


def lessons_folder() -> Path:
    """Return the folder of the lessons, in the package or beside it. Raises UserError if there is none."""
    package = Path(__file__).parents[1]
    for folder in (package / "lessons", package.parent / "lessons"):
        if (folder / "syllabus.toml").is_file():
            return folder
    raise UserError("the lessons are missing from this installation of tinyllm; install it again")


@functools.cache
def syllabus() -> tuple[Lesson, ...]:
    """Return all lessons in order."""
    data = read_toml(lessons_folder() / "syllabus.toml")
    return tuple(map(_lesson, data["lesson"]))


@functools.cache
def built_in() -> dict[str, int]:
    """Return {op: number of the lesson in which it is an exercise}."""
    return {task.op: lesson.number for lesson in syllabus() for task in lesson.tasks if task.kind == "op"}


def _lesson(fields):
    for task in fields["tasks"]:
        task |= {"op": task.get("op", task["name"]), "parts": tuple(task.get("parts", ()))}
    fields["tasks"] = [Exercise(**task) for task in fields["tasks"]]
    fields |= {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Lesson(number=int(fields["folder"][:2]), **fields)


def find_lesson(number: int | str) -> Lesson:
    """Return the lesson with a number or folder name. Raises UserError if there is none."""
    for lesson in syllabus():
        if str(number) in (str(lesson.number), f"{lesson.number:02}", lesson.folder):
            return lesson
    last = syllabus()[-1].number
    raise UserError(f"there is no lesson {number!r}, only 0 to {last}; `tinyllm lesson` shows them all")
