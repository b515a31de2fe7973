"""Turn the library's own code into solutions, for the self-test of the checker and for `tinyllm solution`."""

import ast
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any

from tinyllm.course.syllabus import Exercise
from tinyllm.ops import shapes
from tinyllm.ops.registry import OPS, Op
from tinyllm.testing.edits import strip_types

STANDARD = "import math\nimport heapq\nfrom itertools import pairwise\n\nimport numpy as np\n\n"


def solved(task: Exercise) -> str:
    """Return an exercise.py that solves an exercise with the code of its op and the functions it calls."""
    return source([OPS[task.op].reference])


def source(functions: Iterable[Callable[..., Any]]) -> str:
    """Return the text of a file with these functions and the library code that they use."""
    found: dict[str, str] = {}
    for function in functions:
        collect(function, found)
    return STANDARD + "\n\n".join(reversed(found.values())) + "\n"


def collect(function: Callable[..., Any], found: dict[str, str]) -> None:
    """Add to `found` the source of a function without decorators, and of the helpers that it uses."""
    tree: Any = ast.parse(inspect.getsource(function))
    tree.body[0].decorator_list = []
    strip_types(tree.body[0])
    found[function.__name__] = ast.unparse(tree)
    own = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - own
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        value = value.reference if isinstance(value, Op) else value
        if name in found:
            found[name] = found.pop(name)  # further back, so that it stands before what uses it
        elif isinstance(value, types.FunctionType) and value.__module__.startswith("tinyllm"):
            collect(value, found)
        elif isinstance(value, int | float | str | dict | tuple):
            found[name] = f"{name} = {value!r}"


def helpers(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the functions of tinyllm, except ops, that a function uses; each stands before its callers.

    Helpers in ops/shapes.py are left out, because they only check arguments.
    """
    found: list[Callable[..., Any]] = []
    tree: Any = ast.parse(inspect.getsource(function)).body[0]
    for statement in tree.body:
        for node in ast.walk(statement):
            value: Any = function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
            if not isinstance(value, types.FunctionType) or value.__module__ == shapes.__name__:
                continue
            if value.__module__.startswith("tinyllm") and value is not function:
                inner: list[Callable[..., Any]] = [*helpers(value), value]
                found += [each for each in inner if each not in found]
    return found
