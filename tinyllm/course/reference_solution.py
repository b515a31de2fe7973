"""Turn the library's own code into solutions, for the self-test of the checker and for `tinyllm solution`."""

import ast
import types
from collections.abc import Callable, Iterable
from typing import Any

from tinyllm.course.syllabus import Exercise
from tinyllm.ops.registry import OPS, Op
from tinyllm.testing.edits import tree_of

STANDARD = """import math
import re
import string
from collections import Counter
from itertools import pairwise
from statistics import NormalDist

import numpy as np

"""


def solved(task: Exercise) -> str:
    """Return the text of an exercise.py that solves an exercise with the library's own code."""
    return source([OPS[task.op].reference])


def source(functions: Iterable[Callable[..., Any]]) -> str:
    """Return the text of a file with these functions and the library code that they use."""
    found: dict[str, Any] = {}
    for function in functions:
        collect(function, found)
    return STANDARD + "\n\n".join(text_of(*each) for each in reversed(found.items())) + "\n"


def collect(function: Callable[..., Any], found: dict[str, Any], ops: bool = True) -> dict[str, Any]:
    """Add a function and the library code that it uses to `found` -> {name: function or constant}.

    Each comes after everything that uses it. ops: True to add the specifications of called ops, too.
    """
    found[function.__name__] = function
    own = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
    names = {node.id for node in ast.walk(tree_of(function, True)) if isinstance(node, ast.Name)} - own
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        value = value.reference if isinstance(value, Op) and ops else value
        if name in found:
            found[name] = found.pop(name)  # move it to the end, after all that use it
        elif isinstance(value, types.FunctionType) and value.__module__.startswith("tinyllm"):
            collect(value, found, ops)
        elif isinstance(value, int | float | str | dict | tuple):
            found[name] = value
    return found


def text_of(name: str, value: Any) -> str:
    """Return the definition of a function or a constant as text."""
    return ast.unparse(tree_of(value, True)) if callable(value) else f"{name} = {value!r}"
