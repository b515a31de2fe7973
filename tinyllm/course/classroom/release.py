"""Write a release for students: lessons and stubs, without any line of a solution.

All texts are scanned before anything is written: stubs must be empty, and no line of the library's code for
an exercise may occur in a stub, or in the text of a lesson up to the exercise's own lesson.
"""

import ast
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

from tinyllm.course.answer_keys import answers
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.kernels import has_body
from tinyllm.course.syllabus import lessons_folder
from tinyllm.course.workspace import MAX_FILE
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_text
from tinyllm.ops.registry import OPS
from tinyllm.version import WHEEL, __version__

INSTALL = f"""Install tinyllm {__version__} from the file or link that your instructor gave you, for example
with `python -m pip install '{WHEEL}-{__version__}.tar.gz[course]'`. Do not use `pip install
tinyllm`: it installs another project of that name."""
HAND_IN = """Step through a lesson with `python FOLDER/lesson.py`, fill in its exercise file, and see how it
does with `tinyllm check NUMBER FOLDER/exercise.py`. Hand in the folders, in a folder or a zip that has
your name."""
SENT = (".py", ".c", ".h")
HARMLESS = ("for ", "for(", "raise ", "def ", "import ", "void ", "#")  # lines that give nothing away
LONG_ENOUGH = 24  # characters; a shorter line may occur in a lesson by chance


def write_release(course: Course, out: str | Path, source: str | Path | None = None) -> list[Path]:
    """Write a release into a new folder, and return its paths. Raises UserError before it writes anything."""
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already and not empty; a release goes into a new folder")
    source = Path(source) if source else lessons_folder()
    texts = {}
    for part in course.parts:
        if part.lesson.home:  # its folder holds the reference
            texts[part.lesson.folder, "exercise.py"] = part.lesson.starter
            require_stubs(part, part.lesson.path, texts)
            continue
        folder = source / part.lesson.folder
        if not (folder / "exercise.py").is_file():
            raise UserError(f"there is no {folder / 'exercise.py'} to release")
        for path in sorted(folder.iterdir()):
            if path.suffix in SENT and path.is_file() and not path.is_symlink():
                texts[part.lesson.folder, path.name] = read_text(path, MAX_FILE)
        require_stubs(part, folder, texts)
    scan(course, texts)
    texts["", "README.md"] = readme(course)
    try:
        for (lesson, name), text in texts.items():
            (out / lesson).mkdir(parents=True, exist_ok=True)
            atomic_write_text(out / lesson / name, text)
    except (OSError, UserError) as error:
        shutil.rmtree(out, ignore_errors=True)
        raise UserError(f"cannot write to {out}: {error}") from None
    return [out / lesson / name for lesson, name in texts]


def require_stubs(part: Part, folder: Path, texts: dict[tuple[str, str], str]) -> None:
    """Raise UserError if an exercise is not a stub. texts: {(lesson's folder, file name): text}."""
    path, c_text = folder / "exercise.py", texts.get((part.lesson.folder, "exercise.c"), "")
    try:
        tree = ast.parse(texts[part.lesson.folder, "exercise.py"])
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}:{getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for task in map(part.lesson.task, part.points):
        wrong = ""
        if task.kind == "c":
            wrong = "more than a stub in exercise.c; empty its braces" * has_body(c_text, task.op)
        elif task.kind == "run" and functions:
            wrong = f"done with students' own functions; take them out: {', '.join(functions)}"
        elif task.kind in ("op", "tests") and task.name not in functions:
            wrong = "an exercise, but no function of the file"
        elif task.kind in ("op", "tests") and not is_stub(functions[task.name]):
            wrong = "more than a stub; raise NotImplementedError in it"
        if wrong:
            raise UserError(f"{path}: {task.name} is {wrong}")


def is_stub(function: ast.FunctionDef) -> bool:
    """Return True if a function contains only a docstring and `raise NotImplementedError`."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return len(body) == 1 and ast.unparse(body[0]).removesuffix("()") == "raise NotImplementedError"


def solution_lines(course: Course) -> dict[str, tuple[str, int]]:
    """Return {line without spaces: (op, lesson)} for the library's lines that would reveal a solution."""
    found: dict[str, tuple[str, int]] = {}
    for part in course.parts:
        for name in part.points:
            task = part.lesson.task(name)
            lines = answers(task).reference.splitlines() if task.kind == "c" else []
            tree: Any = ast.parse(inspect.getsource(OPS[task.op].reference)).body[0]
            body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
            lines += [line for statement in body for line in ast.unparse(statement).splitlines()]
            for line in lines:
                if len(line.strip()) >= LONG_ENOUGH and not line.strip().startswith(HARMLESS):
                    found.setdefault(without_spaces(line), (task.op, part.lesson.number))
    return found


def without_spaces(line: str) -> str:
    """Return a line of code without spaces and with one kind of quotes, to compare lines."""
    return re.sub(r"\s+", "", line).replace('"', "'")


def scan(course: Course, texts: dict[tuple[str, str], str]) -> None:
    """Raise UserError if the texts of a release contain a line of a solution."""
    known = solution_lines(course)
    numbers = {part.lesson.folder: part.lesson.number for part in course.parts}
    for (folder, name), text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if "BEGIN SOLUTION" in line.upper():  # what follows may be any way to solve it
                raise UserError(f"{folder}/{name}:{number}: 'BEGIN SOLUTION' leaves no stub; write one there")
            op, lesson = known.get(without_spaces(line.lstrip("#/* ")), ("", -1))
            if op and (name != "lesson.py" or lesson >= numbers[folder]):  # else it has been taught before
                where = f"{folder}/{name}:{number}"
                raise UserError(f"{where} is a line of the solution of {op}; nothing was written")


def readme(course: Course) -> str:
    """Return the README of a release as Markdown, with the lessons and their due dates."""
    lines = [f"# {course.title}", "", INSTALL, ""]
    for part in course.parts:
        worth = sum(part.points.values())
        due = f", due {part.due}" if part.due else ""
        checked = ", checked when you hand it in" if part.lesson.home else ""
        lines.append(f"* `{part.lesson.folder}/{part.lesson.exercise}`: {part.lesson.title} "
                     f"({worth:g} point{'s' * (worth != 1)}{due}{checked})")
    return "\n".join([*lines, "", HAND_IN, ""])
