"""Write a release for students: lessons and stubs, without any line of a solution.

An instructor may keep a solved copy of the lessons: code between `# BEGIN SOLUTION` and `# END SOLUTION` is
replaced by `raise NotImplementedError`. A misspelled marker is an error. Then all texts are scanned: stubs
must be empty, and no line of the library's code for an exercise may occur in a stub, or in the text of a
lesson up to the exercise's own lesson.
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

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
ALMOST = re.compile(r"#.*\b(begin|end|start|stop)\b\W*\bsol", re.IGNORECASE)
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
                texts[part.lesson.folder, path.name] = stubs(read_text(path, MAX_FILE), path)
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


def stubs(text: str, path: Path) -> str:
    """Replace the code between solution markers by a stub. Raises UserError for a misspelled marker."""
    kept, inside = [], None
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        word = line.strip()
        if word in (BEGIN, END):
            if (word == END) == (inside is None):
                what = "ends nothing" if word == END else f"begins again; line {inside} is still open"
                raise UserError(f"{path}:{number}: the marker {word!r} {what}")
            if word == BEGIN:
                inside = number
                kept.append(line[: len(line) - len(line.lstrip())] + "raise NotImplementedError\n")
            else:
                inside = None
        elif ALMOST.search(line):
            raise UserError(f"{path}:{number}: a malformed marker; it must be {BEGIN!r} or {END!r}, alone")
        elif inside is None:
            kept.append(line)
    if inside is not None:
        raise UserError(f"{path}:{inside}: the marker {BEGIN!r} is never ended")
    return "".join(kept)


def require_stubs(part: Part, folder: Path, texts: dict[tuple[str, str], str]) -> None:
    """Raise UserError if an exercise is not a stub. texts: {(lesson's folder, file name): text}."""
    path, c_text = folder / "exercise.py", texts.get((part.lesson.folder, "exercise.c"), "")
    try:
        tree = ast.parse(texts[part.lesson.folder, "exercise.py"])
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}:{getattr(error, 'lineno', 1)}: {getattr(error, 'msg', error)}") from None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for task in map(part.lesson.task, part.points):
        if task.kind == "c" and has_body(c_text, task.op):
            raise UserError(f"{folder / 'exercise.c'}: {task.op} is more than a stub; empty its braces")
        if task.kind == "run" and functions:
            line = next(iter(functions.values())).lineno
            raise UserError(f"{path}:{line}: students bring the functions of {task.name}; take them out")
        if task.kind in ("op", "tests"):
            if task.name not in functions:
                raise UserError(f"{path} has no function {task.name}, which is an exercise")
            if not is_stub(functions[task.name]):
                where = f"{path}:{functions[task.name].lineno}"
                raise UserError(f"{where}: {task.name} is more than a stub; mark its body with {BEGIN!r}")


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
            op, lesson = known.get(without_spaces(line.lstrip("#/* ")), ("", -1))
            if op and (name != "lesson.py" or lesson >= numbers[folder]):  # else it has been taught before
                where = f"{folder}/{name}:{number}"
                raise UserError(f"{where} is a line of the solution of {op}; nothing was written")


def readme(course: Course) -> str:
    """Return the README of a release as Markdown, with the lessons and their due dates."""
    install = [
        f"Install tinyllm {__version__} from the file or link that your instructor gave you, for example",
        f"with `python -m pip install '{WHEEL}-{__version__}.tar.gz[course]'`. Do not use `pip install",
        "tinyllm`: it installs another project of that name.",
    ]
    lines = [f"# {course.title}", "", *install, ""]
    for part in course.parts:
        due = f", due {part.due}" if part.due else ""
        points = sum(part.points.values())
        worth = "1 point" if points == 1 else f"{points:g} points"
        lines += [f"* `{part.lesson.folder}`: {part.lesson.title} ({worth}{due})"]
    own = [str(part.lesson.number) for part in course.parts if part.lesson.home]
    first = next((part.lesson for part in course.parts if not part.lesson.home), None)
    if own:
        lines += ["", f"Checked when you hand them in, not by `tinyllm check`: {', '.join(own)}."]
    if first is None:
        return "\n".join([*lines, "", "Hand in the folders, in a folder or a zip that has your name.", ""])
    exercise = f"{first.folder}/exercise.py"
    in_c = any(part.lesson.task(name).kind == "c" for part in course.parts for name in part.points)
    lines += [
        "",
        f"Step through a lesson with `python {first.folder}/lesson.py`, fill in `{exercise}`,",
        f"and see how it does with `tinyllm check {first.number} {exercise}`.",
        f"Hand in the folders with your exercise.py{' and exercise.c' * in_c}, in a folder or a zip that has",
        "your name.",
        "",
    ]
    return "\n".join(lines)
