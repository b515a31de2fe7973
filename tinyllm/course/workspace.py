"""Find and fill a student's workspace: copies of lessons, and the progress in `.tinyllm`.

Files are copied once and never overwritten. The workspace is the current folder or the nearest folder above
it that contains `.tinyllm`. If there is none, it is the current folder.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyllm.config import conform
from tinyllm.course.syllabus import Lesson, syllabus
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, parse_json, read_bytes, read_text, read_toml

MARK, DAMAGED = ".tinyllm", "progress.damaged"
CODE = (".py", ".c", ".h")  # the files of an exercise, all in one folder
MAX_FILE, MAX_FILES = 2**21, 200  # bytes, files
FIELDS = {"state": str, "held": int, "hints": int, "solution": bool}  # of an exercise in progress.json


def find_workspace(start: str | Path = ".") -> Path:
    """Return the nearest workspace from `start` upwards, or `start` if there is none."""
    start = Path(start).absolute()
    for folder in (start, *start.parents):
        if (folder / MARK).is_dir() and folder != Path.home():
            return folder
    return start


def start_lesson(lesson: Lesson, workspace: Path) -> tuple[Path, list[str]]:
    """Copy a lesson's files into the workspace; return the folder, and the names of the copied files.

    A file that exists already is not changed.
    """
    folder, copied = workspace / lesson.folder, []
    try:
        (workspace / MARK).mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        for path in sorted(lesson.path.iterdir()):
            target = folder / path.name
            if path.suffix in CODE and not os.path.lexists(target):
                target.write_text(read_text(path), "utf-8")
                copied.append(path.name)
    except OSError as error:
        raise UserError(f"cannot write {short_path(error.filename or folder)}: {error.strerror}") from None
    return folder, copied


def exercise_path(lesson: Lesson, workspace: Path, file: str | Path | None = None) -> Path:
    """Return the path of the student's exercise. Raises UserError if there is none."""
    if file is None:
        path = workspace / lesson.folder / "exercise.py"
        if os.path.lexists(path):  # even if it is no file: reading it raises an error
            return path
        start = "" if lesson.home else f"`tinyllm lesson start {lesson.number}` makes one, or "
        raise UserError(f"there is no {short_path(path)}; {start}give the file's name")
    path = Path(file) / lesson.exercise if Path(file).is_dir() else Path(file)
    if not os.path.lexists(path):
        raise UserError(f"there is no {short_path(path)}; give your {lesson.exercise}, or its folder")
    if lesson.exercise == "exercise.py" and path.suffix == ".py":
        return path
    if path.name != lesson.exercise:
        raise UserError(f"{short_path(path)} is no {lesson.exercise}, which lesson {lesson.number} is about")
    return path.with_name("exercise.py")  # for an exercise in C only the folder matters


@contextlib.contextmanager
def copied(path: Path) -> Iterator[Path]:
    """Copy an exercise and the code beside it to a temporary folder; yield the path of the copy.

    A worker may read the whole folder, so nothing else must be in it. Raises UserError if the exercise
    cannot be read or is too large.
    """
    files: dict[str, bytes] = {}
    for other in sorted(path.parent.iterdir()):
        if other.suffix in CODE and len(files) < MAX_FILES:
            with contextlib.suppress(UserError):  # a file that cannot be read, or is too large, is left out
                files[other.name] = read_bytes(other, MAX_FILE)
    alone = not path.exists() and path.with_suffix(".c").is_file()  # lesson 10 needs no other file
    files[path.name] = b"" if alone else read_bytes(path, MAX_FILE)
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder:
        yield lay_out(files, Path(folder), path.name)


def lay_out(files: dict[str, bytes], folder: Path, name: str = "exercise.py") -> Path:
    """Write an exercise and the code beside it into a worker's folder; return the exercise's path.

    files: {name: bytes}. Files that are not code or are too large are left out.
    """
    for other, data in files.items():
        if (other == name or Path(other).suffix in CODE) and len(data) <= MAX_FILE:
            (folder / other).write_bytes(data)
    return folder / name


def hints(lesson: Lesson, task: str) -> list[str]:
    """Return the hints of an exercise, from a small hint to almost the answer."""
    path = lesson.path / "hints.toml"
    return read_toml(path, {str: [str]}).get(task, []) if path.is_file() else []


class StudentProgress:
    """A student's progress: the state of each exercise, properties that hold, hints and solutions seen.

    A damaged file counts as empty. Then `problem` says so, and `save` renames the file first.
    """

    def __init__(self, workspace):
        self.path, self.problem = workspace / MARK / "progress.json", None
        self.tasks = {}
        if not os.path.lexists(self.path):
            return
        try:
            self.tasks = read_progress(read_bytes(self.path, 2**22))
        except UserError:
            keep = f"a check starts a new one and keeps it as {DAMAGED}"
            self.problem = f"{short_path(self.path)} is damaged; {keep}"

    def task(self, lesson: Lesson, name: str) -> dict[str, Any]:
        """Return the record of an exercise. The caller may change this dict, and `save` writes it."""
        return self.tasks.setdefault(f"{lesson.number}/{name}", {})

    def save(self) -> None:
        """Write the file atomically, if the workspace exists or has lessons. Raises UserError on failure."""
        workspace = self.path.parent.parent
        if not (self.path.parent.exists() or any((workspace / one.folder).is_dir() for one in syllabus())):
            return
        try:
            self.path.parent.mkdir(exist_ok=True)
            if self.problem:
                self.path.replace(self.path.with_name(DAMAGED))
                self.problem = None
            atomic_write_text(self.path, json.dumps({"tasks": self.tasks}, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            place = short_path(self.path)
            raise UserError(f"cannot keep your progress in {place}: {error.strerror}") from None

    def state(self, lesson: Lesson) -> tuple[str, int]:
        """Return a lesson's state ("done", "started" or "") and the number of passed exercises."""
        passed = sum(self.task(lesson, task.name).get("state") == "passed" for task in lesson.tasks)
        here = (self.path.parent.parent / lesson.folder).is_dir()
        return ("done" if passed == len(lesson.tasks) else "started" if here else "", passed)


def passed_ops(lesson: Lesson, workspace: Path) -> set[str]:
    """Return the ops of a lesson whose exercises have passed `tinyllm check` in a workspace."""
    progress = StudentProgress(workspace)
    ops = [task.name for task in lesson.tasks if task.kind == "op"]
    return {name for name in ops if progress.task(lesson, name).get("state") == "passed"}


def read_progress(data: bytes) -> dict[str, dict[str, Any]]:
    """Read a progress file as {"LESSON/TASK": record}. Raises UserError if the file is damaged."""
    content = parse_json(data)
    conform(content, {"tasks": {str: {}}})
    return {key: {name: value for name, value in task.items() if type(value) is FIELDS.get(name)}
            for key, task in content["tasks"].items() if re.fullmatch(r"\d{1,4}/\w+", key)}


def short_path(path: str | Path) -> str:
    """Format a path for messages: relative to the current folder if it is inside this folder."""
    with contextlib.suppress(ValueError):
        return str(Path(path).absolute().relative_to(Path.cwd()))
    return str(path)
