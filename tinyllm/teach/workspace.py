"""A student's workspace: a folder with copies of lessons, and what has been reached in `.tinyllm`.

Copies are made once and never overwritten. The workspace is the folder at hand, or the nearest one above it
that has a `.tinyllm`.
"""

import contextlib
import json
import tomllib
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text
from tinyllm.teach.syllabus import syllabus

MARK = ".tinyllm"
COPIED = ("lesson.py", "exercise.py")


def find_workspace(start="."):
    """The nearest folder, from `start` upwards, that is a workspace; otherwise `start` itself -> Path."""
    start = Path(start).absolute()
    for folder in (start, *start.parents):
        if (folder / MARK).is_dir() and folder != Path.home():
            return folder
    return start


def start_lesson(lesson, workspace):
    """Copy a lesson's files into the workspace -> (the folder, the names that were copied). Raises UserError.

    A file that is there already stays as it is.
    """
    folder = workspace / lesson.folder
    try:
        (workspace / MARK).mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        copied = []
        for source in sorted(lesson.path.iterdir()):
            target = folder / source.name
            if source.name in COPIED or source.suffix in (".c", ".h"):
                with contextlib.suppress(FileExistsError), open(target, "x", encoding="utf-8") as f:
                    f.write(source.read_text("utf-8"))
                    copied.append(source.name)
    except OSError as error:
        raise UserError(f"cannot write {shown(error.filename or folder)}: {error.strerror}") from None
    return folder, copied


def exercise_path(lesson, workspace, file=None):
    """Where the student's exercise is -> Path. Raises UserError."""
    if file is not None:
        path = Path(file)
        path = path / "exercise.py" if path.is_dir() else path
    else:
        path = workspace / lesson.folder / "exercise.py"
    if not path.is_file():
        start = f"`tinyllm lesson start {lesson.number}` makes one"
        raise UserError(f"there is no {shown(path)}; {start}, or give the file's name")
    return path


def versions(folder):
    """When each file that a check may read was saved -> dict, which differs after a save."""
    found = {}
    with contextlib.suppress(OSError):  # an editor may have taken one away for a moment
        for path in sorted(folder.iterdir()):
            if path.suffix in (".py", ".c", ".h"):
                found[path.name] = path.stat().st_mtime_ns
    return found


def hints(lesson, task):
    """The hints of a task, from a nudge to nearly the answer -> list of str."""
    path = lesson.path / "hints.toml"
    return tomllib.loads(path.read_text("utf-8")).get(task, []) if path.is_file() else []


class Progress:
    """What has been reached: each task's state, properties held, hints and solutions seen."""

    def __init__(self, workspace):
        self.path = workspace / MARK / "progress.json"
        self.tasks = _read(self.path)

    def task(self, lesson, name):
        """The record of a task, a dict to change; `save` keeps it."""
        return self.tasks.setdefault(f"{lesson.number}/{name}", {})

    def save(self):
        """Write the file, whole or not at all; where no lesson is, leave no trace. Raises UserError."""
        workspace = self.path.parent.parent
        if not (self.path.parent.exists() or any((workspace / one.folder).is_dir() for one in syllabus())):
            return
        try:
            self.path.parent.mkdir(exist_ok=True)
            atomic_write_text(self.path, json.dumps({"tasks": self.tasks}, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            raise UserError(f"cannot keep your progress in {shown(self.path)}: {error.strerror}") from None

    def state(self, lesson):
        """One word for a lesson: done, started or empty -> (str, how many tasks passed)."""
        passed = sum(self.task(lesson, task.name).get("state") == "passed" for task in lesson.tasks)
        here = (self.path.parent.parent / lesson.folder).is_dir()
        return ("done" if passed == len(lesson.tasks) else "started" if here else "", passed)


def _read(path):
    """The tasks of a progress file; a file that is none counts as empty, for it holds nothing to lose."""
    try:
        return read_progress(path.read_bytes() if path.stat().st_size <= 2**22 else b"")
    except OSError:
        return {}


def read_progress(data):
    """The tasks of a progress file's bytes -> dict of dicts by "LESSON/TASK"; empty where it is none."""
    try:
        tasks = json.loads(data.decode("utf-8"))["tasks"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    known = {f"{lesson.number}/{task.name}" for lesson in syllabus() for task in lesson.tasks}
    return {key: value for key, value in tasks if key in known and isinstance(value, dict)}


def shown(path):
    """A path as short as it can be said: relative to the folder at hand where it is below it."""
    with contextlib.suppress(ValueError):
        return str(Path(path).absolute().relative_to(Path.cwd()))
    return str(path)
