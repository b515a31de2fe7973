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

MARK = "# gathered from your lessons; SHA-256 of what follows: "


def gather(folder: str | Path) -> str:
    """Copy the student's functions of lessons 4 to 9 into folder/exercise.py; return a line about the result.

    The folders of these lessons must be next to `folder`. A file that the student has changed is kept.
    Raises UserError if an exercise is not valid Python, or if two exercises define a name differently.
    """
    target, capstone = Path(folder).absolute() / "exercise.py", find_lesson(12)
    text = read_text(target, MAX_FILE) if target.is_file() else capstone.starter
    first, _, rest = text.partition("\n")
    if text != capstone.starter and first != MARK + hashlib.sha256(rest.encode()).hexdigest():
        return f"{short_path(target)} has work of yours in it and was left alone"
    pieces: dict[str, str] = {}
    lessons = []
    for lesson in map(find_lesson, range(4, 10)):
        path = target.parents[1] / lesson.folder / "exercise.py"
        found = pieces_of(path, lesson) if path.is_file() else {}
        for name, piece in found.items():
            if pieces.setdefault(name, piece) != piece:
                twice = f"{name} is something else in an earlier lesson; rename one"
                raise UserError(f"{short_path(path)}: {twice}")
        lessons += [str(lesson.number)] if 1 in map(rank, found) else []
    if not lessons:
        return f"nothing has been written in lessons 4 to 9 beside {short_path(folder)} yet"
    body = "\n\n".join(pieces[name] for name in sorted(pieces, key=rank)) + "\n"
    atomic_write_text(target, MARK + hashlib.sha256(body.encode()).hexdigest() + "\n" + body)
    return f"lessons {', '.join(lessons)} were gathered in {short_path(target)}"


def pieces_of(path: Path, lesson: Lesson) -> dict[str, str]:
    """Return the code of an exercise, but no stubs, as {what it defines, or the import itself: text}."""
    source = read_text(path, MAX_FILE, "utf-8-sig")
    written = attempted(source, lesson.starter, path)
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        names, name = [*definitions([node])], f"line {node.lineno} of {lesson.folder}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            name = ast.unparse(node)
        elif isinstance(node, ast.Expr) or not written.issuperset(names):
            continue
        elif names:
            name = ", ".join(names)
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        found[name] = "\n".join(lines[first - 1 : node.end_lineno])  # the last of a name counts, as in Python
    return found


def rank(name: str) -> int:
    """Return the place of a piece of code: imports of the future (-1), other imports (0), all else (1)."""
    return -1 if name.startswith("from __future__") else 0 if name.startswith(("import ", "from ")) else 1


def parts_in(folder: str | Path) -> tuple[list[Plugin], list[str]]:
    """Import the capstone's functions from folder/exercise.py; return them and the missing names."""
    path = Path(folder).absolute() / "exercise.py"
    there = attempted(read_text(path, MAX_FILE, "utf-8-sig"), "", path)
    module = import_file(path)
    parts = [make_part(op, 12, path, module) for op in PARTS if op in there]
    return parts, [op for op in PARTS if op not in there]
