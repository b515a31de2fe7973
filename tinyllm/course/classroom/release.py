"""Write a release for students: lessons and stubs, without any line of a solution.

The files are those of the library's lessons, or of a checkout, where somebody may have solved an exercise in
place. So all texts are scanned before anything is written: stubs must be empty, and no line of the library's
code for an exercise may occur in a stub, or in the text of a lesson up to the exercise's own lesson.
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from tinyllm.course.answer_keys import answers
from tinyllm.course.classroom.config import Course
from tinyllm.course.kernels import has_body
from tinyllm.course.plugins import attempted
from tinyllm.course.workspace import CODE
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_text
from tinyllm.ops.registry import OPS
from tinyllm.version import WHEEL, __version__

README = f"""Install tinyllm {__version__} from the file or link that your instructor gave you, for example
with `python -m pip install '{WHEEL}-{__version__}.tar.gz[course]'`. Do not use `pip install
tinyllm`: it installs another project of that name.

LESSONS

Step through a lesson with `python FOLDER/lesson.py`, fill in its exercise file, and see how it
does with `tinyllm check NUMBER FOLDER/exercise.py`. Hand in the folders, in a folder or a zip that has
your name.
"""
HARMLESS = ("for ", "for(", "raise ", "def ", "import ", "void ", "#")  # lines that give nothing away
LONG_ENOUGH = 24  # characters; a shorter line may occur in a lesson by chance


def write_release(course: Course, out: str | Path) -> list[Path]:
    """Write a release into a new folder, and return its paths. Raises UserError before it writes anything."""
    if Path(out).exists():
        raise UserError(f"{out} is there already; a release goes into a new folder")
    texts = handed_out(course)
    scan(course, texts)
    for (folder, name), text in texts.items():
        Path(out, folder).mkdir(parents=True, exist_ok=True)
        atomic_write_text(Path(out, folder, name), text)
    atomic_write_text(Path(out, "README.md"), readme(course))
    return [Path(out, folder, name) for folder, name in [*texts, ("", "README.md")]]


def handed_out(course: Course) -> dict[tuple[str, str], str]:
    """Return the files for students: {(lesson's folder, file name): text}."""
    texts = {}
    for lesson in course.lessons:
        texts[lesson.folder, "exercise.py"] = lesson.starter
        if not lesson.home:  # the folder of an instructor's own lesson holds the reference
            texts |= {(lesson.folder, path.name): read_text(path)
                      for path in sorted(lesson.path.iterdir()) if path.suffix in CODE}
    return texts


def scan(course: Course, texts: dict[tuple[str, str], str]) -> None:
    """Raise UserError if the files for students (see `handed_out`) contain a part of a solution."""
    solutions: dict[str, tuple[str, int]] = {}  # line without spaces -> exercise, lesson
    for part in course.parts:
        written = attempted(texts[part.lesson.folder, "exercise.py"], "", part.lesson.path / "exercise.py")
        for task in map(part.lesson.task, part.points):
            in_c = task.kind == "c" and has_body(texts[part.lesson.folder, "exercise.c"], task.op)
            if in_c or task.name in written or (task.kind == "run" and written):
                raise UserError(f"{part.lesson.path}: {task.name} is more than a stub")
            lines = answers(task).reference.splitlines() if task.kind == "c" else []
            for line in [*lines, *body_of(OPS[task.op].reference)]:
                if len(line.strip()) >= LONG_ENOUGH and not line.strip().startswith(HARMLESS):
                    solutions.setdefault(without_spaces(line), (task.op, part.lesson.number))
    numbers = {lesson.folder: lesson.number for lesson in course.lessons}
    for (folder, name), text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            op, lesson = solutions.get(without_spaces(line.lstrip("#/* ")), ("", -1))
            if op and (name != "lesson.py" or lesson >= numbers[folder]):  # else it has been taught before
                raise UserError(f"{folder}/{name}:{number} is a line of the solution of {op}")


def body_of(function: Any) -> list[str]:
    """Return the lines of a function's code, without its head and its docstring."""
    tree: Any = ast.parse(inspect.getsource(function)).body[0]
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    return [line for statement in body for line in ast.unparse(statement).splitlines()]


def without_spaces(line: str) -> str:
    """Return a line of code without spaces and with one kind of quotes, to compare lines."""
    return re.sub(r"\s+", "", line).replace('"', "'")


def readme(course: Course) -> str:
    """Return the README of a release as Markdown, with the lessons and their due dates."""
    lines = []
    for part in course.parts:
        worth = sum(part.points.values())
        due = f", due {part.due}" if part.due else ""
        checked = ", checked when you hand it in" if part.lesson.home else ""
        lines.append(f"* `{part.lesson.folder}/{part.lesson.exercise}`: {part.lesson.title} "
                     f"({worth:g} point{'s' * (worth != 1)}{due}{checked})")
    return f"# {course.title}\n\n{README}".replace("LESSONS", "\n".join(lines))
