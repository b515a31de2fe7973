"""Run models on a student's functions: load them from a workspace and plug them in by `override`.

The code runs in the student's own process and is not isolated, unlike in the checker and the grader. An error
inside a student's function becomes one line that names the function, the lesson and the line of the file.
"""

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tinyllm.course.fork_server import describe, load_file
from tinyllm.course.syllabus import Lesson
from tinyllm.course.workspace import MAX_FILE, short_path
from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.ops.registry import OPS, override
from tinyllm.testing.check import arrays, labelled, require_form, run
from tinyllm.testing.relations import bind


class PartFailure(UserError):
    """A student's function failed while a model ran on it; `state` is that of a verdict."""

    def __init__(self, message, state="failed"):
        super().__init__(message)
        self.state = state


@dataclass
class Plugin:
    """A student's function that replaces an op, wrapped by `validated`; `calls` counts how often it ran."""

    op: str
    lesson: int
    path: Path
    function: Callable[..., Any]
    calls: int = 0
    forms: set[str] = field(default_factory=set)  # types and shapes that were validated already

    def __post_init__(self):
        self.function = validated(self, self.function)

    def title(self, line: int | None = None) -> str:
        """Return the function's name for messages, with a line of its file if one is given."""
        where = f", line {line}," if line else ""
        return f"your {self.op} (lesson {self.lesson}, {short_path(self.path)}){where}"


def load_parts(lessons: Sequence[Lesson], workspace: Path) -> tuple[list[Plugin], list[str]]:
    """Import a student's functions for some lessons; return them, and lines about functions not used.

    Raises UserError if a file is missing or cannot be imported, if a function and its op take different
    arguments, or if nothing has been attempted.
    """
    parts: dict[str, Plugin] = {}
    skipped: list[str] = []
    for lesson in lessons:
        names = [task.name for task in lesson.tasks if task.kind == "op"]
        path = workspace / lesson.folder / "exercise.py"
        if not names:
            skipped.append(f"lesson {lesson.number} has no functions that a model calls")
            continue
        if not path.is_file():
            make = f"`tinyllm lesson start {lesson.number}` makes one"
            raise UserError(f"there is no {short_path(path)}; {make}")
        written = attempted(read_text(path, MAX_FILE, "utf-8-sig"), lesson.starter, path)
        if missing := [name for name in names if name not in written]:
            skipped.append(f"lesson {lesson.number}: not attempted, so the library's: {', '.join(missing)}")
        module = import_file(path)  # even if nothing is attempted, the file must run
        parts |= {name: make_part(name, lesson.number, path, module) for name in names if name in written}
    if not parts:
        raise UserError(f"there is nothing of yours to plug in: {'; '.join(skipped)}")
    return list(parts.values()), skipped


def attempted(source: str, stub: str, path: Path) -> dict[str, str]:
    """Return the definitions that differ from the stub's. Raises UserError for bad syntax."""
    untouched = definitions(ast.parse(stub).body)
    try:
        written = definitions(ast.parse(source).body).items()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(_at(path, getattr(error, "lineno", None), getattr(error, "msg", error))) from None
    stubs = "raise NotImplementedError"
    return {name: text for name, text in written if text not in (untouched.get(name), stubs)}


def definitions(statements: Iterable[ast.stmt]) -> dict[str, str]:
    """Return {name: source} of all definitions in some statements; docstrings of functions are left out."""
    found = {}
    for node in statements:
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            found[node.name] = "\n".join(map(ast.unparse, body))
        elif isinstance(node, ast.ClassDef):
            found[node.name] = ast.unparse(node)
        elif isinstance(node, ast.Assign):
            found |= {t.id: ast.unparse(node.value) for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: ast.unparse(node) for alias in node.names}
    return found


def import_file(path: Path, name: str = "") -> ModuleType:
    """Import a student's file as a new module. Raises UserError with the line that failed."""
    name = name or f"_tinyllm_mine_{path.parent.name}"
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return load_file(name, str(path))
    except Exception as error:
        line = describe(error, str(path))["line"]
        raise UserError(_at(path, line, f"{type(error).__name__}: {error}")) from None
    except SystemExit:
        raise UserError(f"{short_path(path)} ends Python when it is imported: take its exit() out") from None
    finally:
        sys.dont_write_bytecode = before


def make_part(name: str, lesson: int, path: Path, module: ModuleType) -> Plugin:
    """Return a Plugin that replaces an op by a function of a file. Raises UserError if it does not fit."""
    function: Any = getattr(module, name, None)
    wanted = OPS[name].__signature__
    try:
        got = inspect.signature(function)
    except (TypeError, ValueError):
        raise UserError(f"{short_path(path)}: {name} is no function") from None
    try:
        got.bind(*wanted.parameters)
        got.bind(**wanted.parameters)
    except TypeError:
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", None)
        raise UserError(_at(path, line, f"{name} is called as {name}{wanted}; yours takes {got}")) from None
    return Plugin(name, lesson, path, function)


def validated(part: Plugin, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a student's function: add its name to errors, and validate its results."""
    o = OPS[part.op]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        part.calls += 1
        given = bind(part.op, args, kwargs)
        before = given | {name: np.array(given[name]) for name in o.mutates}
        try:
            result = function(*args, **kwargs)
        except PartFailure:
            raise  # from another function, called inside this one
        except Exception as error:
            line = describe(error, str(part.path))["line"]
            raise PartFailure(f"{part.title(line)} failed: {type(error).__name__}: {error}") from None
        changed = [given[name] for name in o.mutates] if result is None else []
        results = changed or (list(result) if isinstance(result, tuple | list) else [result])
        form = str([[_form(value) for value in values] for values in (before.values(), results)])
        if form not in part.forms or not all(map(_finite, results)):
            _look(part, function, results, tuple(before.values()))
            part.forms.add(form)
        return result

    call.__signature__ = o.__signature__  # type: ignore[attr-defined]
    return call


def _look(part, function, results, args):
    """Raise PartFailure if results differ from the specification's in type, shape or finiteness."""
    expected = run(part.op, OPS[part.op].reference, args)
    try:
        if OPS[part.op].mutates and len(results) != len(expected):
            raise AssertionError("it works in place and must return None")
        for label, got, want in labelled(part.op, results, expected):
            require_form(label, got, want)
            if not _finite(got) and _finite(want):
                raise AssertionError(f"{label} has numbers that are not finite, where the right ones are")
    except AssertionError as error:
        code = getattr(function, "__code__", None)
        line = code.co_firstlineno if code and code.co_filename == str(part.path) else None
        more = f"`tinyllm check {part.lesson}` says more"
        raise PartFailure(f"{part.title(line)} returns something else: {error}; {more}") from None


def _finite(value):
    """Return True if a result has no float that is infinite or NaN."""
    values = np.asarray(value) if isinstance(value, np.ndarray | np.generic | float) else np.empty(0)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _form(value):
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape
    if isinstance(value, list):
        return [a.shape for a in arrays(value)]
    return type(value).__name__ if value is None or type(value) in (int, float) else repr(value)


def _at(path, line, message):
    """Format one line about a place in a file."""
    where = f"{short_path(path)}, line {line}" if line else short_path(path)
    return f"{where}: {' '.join(str(message).split())}"


def plug_in(parts: Sequence[Plugin]) -> AbstractContextManager:
    """Replace ops by the student's functions in `parts`, permanently or for a `with` block."""
    return override(**{part.op: part.function for part in parts})
