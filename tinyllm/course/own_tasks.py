"""Load an instructor's own exercises from a folder, as another lesson.

The folder is called N_name, with N >= 100. It contains reference.py (each public function is an exercise),
cases.py (inputs, under the function's name), mistakes.py (calls `mistake` and `variant`, like the files in
`testing`) and perhaps hints.toml. Each function becomes an op, so checker, grader, hints and self-test need
no change. The instructor's code in this folder runs in this process; a student's code runs in a worker.
"""

import ast
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyllm.course import protocol
from tinyllm.course.plugins import import_file
from tinyllm.course.syllabus import Exercise, Lesson
from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.ops import OPS
from tinyllm.ops.registry import op
from tinyllm.rng import Random
from tinyllm.testing import MISTAKES
from tinyllm.testing.catalog import BOUNDS, CASES, draw_cases
from tinyllm.testing.check import narrow
from tinyllm.testing.relations import run_spec

FILES = "reference.py", "cases.py", "mistakes.py"
SIZES, SEEDS = st.integers(0, 20), st.integers(0, 2**16)  # of a case; the simplest are tried first
LOADED: dict[str, Lesson] = {}  # folder -> its lesson, because an op can be registered once


def load_lesson(folder: str | Path) -> Lesson:
    """Load the exercises in a folder as a Lesson. Raises UserError with the name of a bad file."""
    home = Path(os.path.realpath(folder))  # a link to itself raises no error here
    if str(home) in LOADED:
        return LOADED[str(home)]
    number = re.fullmatch(r"([1-9]\d{2,3})_\w+", home.name, re.ASCII)  # smaller ones are the library's
    if not number:
        raise UserError(f"{folder} should be named as 100_averages: a number from 100, and a name")
    text, *_ = [read_text(home / name, 2**20, "utf-8-sig") for name in FILES]  # refuses pipes and the like
    reference = import_file(home / FILES[0], f"tinyllm_{home.name}")  # first, because it says what is wrong
    names, stub, title = read_reference(text, home / FILES[0])
    if taken := [name for name in names if name in OPS]:
        raise UserError(f"{home / FILES[0]}: another op or exercise is {taken[0]}; choose another name")
    tasks = tuple(Exercise(name, name) for name in names)
    lesson = Lesson(int(number[1]), home.name, "", tasks, home=str(home), stub=stub, heading=title)
    lesson.hints(names[0])  # a bad file raises now, not when a student asks for a hint
    register(names, reference, import_file(home / FILES[1]))
    import_file(home / FILES[2])
    for name in names:
        if not MISTAKES.get(name):
            raise UserError(f"{home / FILES[2]} has no mistake of {name}, which a check must reject")
        for said, function in MISTAKES[name]:
            try:
                getattr(function, "function", None)  # an edit makes its function here, which may raise
            except Exception as error:
                raise UserError(f"{home / FILES[2]}: the mistake {said!r} cannot be made: {error}") from None
    return LOADED.setdefault(str(home), lesson)


def read_reference(text: str, path: Path) -> tuple[list[str], str, str]:
    """Return the names of a reference's public functions, a stub made from them, and the title."""
    tree = ast.parse(text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    if not functions:
        raise UserError(f"{path} has no function; each public function there is an exercise")
    for node in functions:
        if ast.get_docstring(node) is None:
            raise UserError(f"{path}, line {node.lineno}: {node.name} has no docstring; it tells students "
                            "what to write")
        node.body[1:] = ast.parse("raise NotImplementedError").body
        node.decorator_list = []  # a decorator may be code that students do not get
    title = (ast.get_docstring(tree) or "Exercises of your instructor").split("\n")[0].rstrip(".")
    stub = "\n\n\n".join([f'"""{title}."""', "import numpy as np", *map(ast.unparse, functions)])
    return [node.name for node in functions], stub + "\n", title


def register(names: list[str], reference: Any, cases: Any) -> None:
    """Register an instructor's functions as ops, with cases and bounds. Raises UserError for bad cases."""
    tolerance = getattr(cases, "TOLERANCE", 1e-5)
    for name in names:
        op(getattr(reference, name), outputs=("the result",), grads=())
        CASES[name] = st.builds(lambda size, seed, name=name: drawn(
            getattr(cases, name)(Random(seed, "case"), size)), SIZES, SEEDS)
        BOUNDS[name] = lambda args, expected: [bound(each, tolerance) for each in expected]
        try:
            for args in draw_cases(name):
                protocol.dump([list(args), run_spec(name, args)])  # as a worker receives and answers it
        except Exception as error:
            why = f"no case can be drawn, or the reference fails on it: {type(error).__name__}: {error}"
            raise UserError(f"{cases.__file__}: {name}: {why.splitlines()[0]}") from None


def drawn(args: Any) -> tuple:
    """Return the arguments of a case, with arrays of float64 as float32, as everywhere in the library."""
    if not isinstance(args, tuple):
        raise TypeError("a case is a tuple of arguments, such as (x, 2) or (x,)")
    return tuple(map(narrow, args))


def bound(expected: Any, tolerance: float) -> Any:
    """Return the allowed error of a result: `tolerance` times its largest float; 0 for integers and text."""
    numbers = np.asarray(expected)
    if numbers.dtype.kind != "f":
        return 0
    return tolerance * float(np.max(np.abs(numbers), where=np.isfinite(numbers), initial=1e-30))
