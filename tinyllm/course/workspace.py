"""Find and fill a student's workspace: copies of lessons, and the progress in `.tinyllm`.

Files are copied once and never overwritten. The workspace is the current folder or the nearest folder above
it that contains `.tinyllm`. If there is none, it is the current folder.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyllm.course.syllabus import Lesson
from tinyllm.errors import UserError, did_you_mean
from tinyllm.files import atomic_write_text, read_bytes, read_json

MARK = ".tinyllm"
EXERCISES = ("exercise.py", "exercise.c")
MAX_FILE = 2**21  # bytes
FIELDS = {"state": str, "held": int, "hints": int}  # of an exercise in progress.json


def find_workspace(start: str | Path = ".") -> Path:
    """Return the nearest workspace from `start` upwards, or `start` if there is none."""
    start = Path(start).absolute()
    for folder in (start, *start.parents):
        if (folder / MARK).is_dir() and folder != Path.home():
            return folder
    return start


def start_lesson(lesson: Lesson, workspace: Path) -> tuple[Path, bool]:
    """Copy a lesson's missing files into the workspace; return the folder, and True if one was copied."""
    folder, copied = workspace / lesson.folder, False
    (workspace / MARK).mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    for name, text in lesson.files.items():
        if not os.path.lexists(folder / name):
            atomic_write_text(folder / name, text)
            copied = True
    return folder, copied


def exercise_path(lesson: Lesson, workspace: Path, file: str | Path | None = None) -> Path:
    """Return the path of an exercise; `file` is it or its folder. Raises UserError if there is none."""
    path = workspace / lesson.folder if file is None else Path(file)
    path = path / lesson.exercise if file is None or path.is_dir() else path
    if not os.path.lexists(path):  # other things than files are refused when they are read
        start = f"`tinyllm lesson start {lesson.number}` makes one, or " * (not lesson.home)
        near = did_you_mean(path.name, os.listdir(path.parent)) if file and path.parent.is_dir() else ""
        hint = near or f"; {start}give your {lesson.exercise}, or its folder"
        raise UserError(f"there is no {short_path(path)}{hint}")
    if path.name != lesson.exercise and not path.suffix == Path(lesson.exercise).suffix == ".py":
        raise UserError(f"{short_path(path)} is no {lesson.exercise}, which lesson {lesson.number} is about")
    return path


@contextlib.contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Copy an exercise to a temporary folder, and yield the path of its Python file there.

    A worker may read the whole folder, so nothing else must be in it. Raises UserError if the exercise
    cannot be read or is too large.
    """
    data = read_bytes(path, MAX_FILE)
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder:
        copy = Path(folder, path.name)
        copy.write_bytes(data)
        python = copy.with_name("exercise.py") if path.suffix == ".c" else copy
        python.touch()  # an exercise in C needs no other file
        yield python


class StudentProgress:
    """A student's progress: states, properties that hold, hints given. Raises UserError if damaged."""

    def __init__(self, workspace):
        self.path = workspace / MARK / "progress.json"
        self.tasks = {}
        if os.path.lexists(self.path):
            try:
                tasks = read_json(self.path, {"tasks": {str: {}}}, 2**22)["tasks"]
            except UserError as error:
                raise UserError(f"{error}; move it away: it says only what you have passed") from None
            for key, task in tasks.items():
                self.tasks[key] = {name: value for name, value in task.items()
                                   if type(value) is FIELDS.get(name)}

    def task(self, lesson: Lesson, name: str) -> dict[str, Any]:
        """Return the record of an exercise. The caller may change this dict, and `save` writes it."""
        return self.tasks.setdefault(f"{lesson.number}/{name}", {})

    def save(self) -> None:
        """Write the file, if the folder is a workspace."""
        if self.path.parent.is_dir():
            atomic_write_text(self.path, json.dumps({"tasks": self.tasks}, indent=1, sort_keys=True) + "\n")

    def state(self, lesson: Lesson) -> tuple[str, int]:
        """Return a lesson's state ("done", "started" or "") and the number of passed exercises."""
        passed = sum(self.task(lesson, task.name).get("state") == "passed" for task in lesson.tasks)
        here = (self.path.parent.parent / lesson.folder).is_dir()
        return ("done" if passed == len(lesson.tasks) else "started" if here else "", passed)


def short_path(path: str | Path) -> str:
    """Format a path for messages: relative to the current folder if it is inside this folder."""
    with contextlib.suppress(ValueError):
        return str(Path(path).absolute().relative_to(Path.cwd()))
    return str(path)
