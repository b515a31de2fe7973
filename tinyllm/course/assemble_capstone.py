"""Assemble the capstone's exercise.py from what a student wrote in lessons 4 to 9."""

import ast
import hashlib
from pathlib import Path

from tinyllm.course.capstone import PARTS
from tinyllm.course.plugins import Plugin, attempted, definitions, import_file, make_part
from tinyllm.course.syllabus import Lesson, find_lesson
from tinyllm.course.workspace import MAX_FILE, short_path
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_text

LESSONS = (4, 5, 6, 7, 8, 9)
MARK = "# gathered from your lessons; SHA-256 of what follows: "


def gather(folder: str | Path) -> str:
    """Copy the student's functions of lessons 4 to 9 into folder/exercise.py; return a line about the result.

    The folders of these lessons must be next to `folder`. A file that the student has changed is kept.
    Raises UserError if an exercise is not valid Python, or if two exercises define a name differently.
    """
    folder = Path(folder).absolute()
    target, stub = folder / "exercise.py", find_lesson(12).path / "exercise.py"
    text = read_text(target, MAX_FILE) if target.is_file() else ""
    first, _, rest = text.partition("\n")
    ours = first == MARK + hashlib.sha256(rest.encode()).hexdigest()
    if text and not ours and text != read_text(stub):
        return f"{short_path(target)} has work of yours in it and was left alone"
    if target == stub:
        return "this is the library's own copy of the lesson; `tinyllm lesson start 12` makes yours"
    imports: dict[str, None] = {}
    pieces: dict[str, tuple[str, str]] = {}
    lessons = []
    for number in LESSONS:
        lesson = find_lesson(number)
        path = folder.parent / lesson.folder / "exercise.py"
        if path.is_file() and collect(path, lesson, imports, pieces):
            lessons.append(str(number))
    if not lessons:
        return f"nothing has been written in lessons 4 to 9 beside {short_path(folder)} yet"
    first_of_all = sorted(imports, key=lambda text: "from __future__" not in text)
    body = "\n".join(first_of_all) + "\n\n\n" + "\n\n\n".join(piece for piece, _ in pieces.values()) + "\n"
    atomic_write_text(target, MARK + hashlib.sha256(body.encode()).hexdigest() + "\n" + body)
    return f"lessons {', '.join(lessons)} were gathered in {short_path(target)}"


def collect(path: Path, lesson: Lesson, imports: dict[str, None], pieces: dict[str, tuple[str, str]]) -> bool:
    """Add an exercise's imports and definitions, but no stubs, to the dicts; return True if it has any."""
    source = read_text(path, MAX_FILE, "utf-8-sig")
    written = attempted(source, lesson.starter, path)
    lines, seen = source.splitlines(), set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports[ast.unparse(node)] = None
            continue
        names = list(definitions([node]))
        if isinstance(node, ast.Expr) or (names and not written.issuperset(names)):
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        key = ", ".join(names) or f"{lesson.folder}, line {node.lineno}"
        if key not in seen and key in pieces and ast.unparse(node) != pieces[key][1]:
            where = f"{short_path(path)}, line {node.lineno}"
            raise UserError(f"{where}: {key} is something else in an earlier lesson; rename one")
        pieces[key] = (text, ast.unparse(node))  # as in Python, the last definition in a file counts
        seen.add(key)
    return bool(seen)


def parts_in(folder: str | Path) -> tuple[list[Plugin], list[str]]:
    """Import the capstone's functions from folder/exercise.py; return them and the missing names."""
    path = Path(folder).absolute() / "exercise.py"
    source = read_text(path, MAX_FILE, "utf-8-sig")
    there = attempted(source, "", path)
    module = import_file(path)
    parts = [make_part(op, 12, path, module) for op in PARTS if op in there]
    return parts, [op for op in PARTS if op not in there]
