"""Exercises solved by the library's own code: what the checker must accept whole."""

import ast
import inspect
import types

from tinyllm.ops.registry import OPS, Op

STANDARD = "import math\nimport heapq\nfrom itertools import pairwise\n\nimport numpy as np\n\n"


def solved(task):
    """The source of an exercise with one task solved: the op, and whatever it calls, as plain functions."""
    found = {}
    collect(OPS[task.op].reference, found)
    body = "\n\n".join(reversed(found.values()))
    return STANDARD + body + (f"\n\n{task.name} = {task.op}\n" if task.name != task.op else "\n")


def collect(function, found):
    """Add the source of a function, without its decorators, and of what it uses of tinyllm."""
    tree = ast.parse(inspect.getsource(function))
    tree.body[0].decorator_list = []
    found[function.__name__] = ast.unparse(tree)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        value = value.reference if isinstance(value, Op) else value
        if name in found:
            found[name] = found.pop(name)  # further back, so that it stands before what uses it
        elif isinstance(value, types.FunctionType) and value.__module__.startswith("tinyllm"):
            collect(value, found)
        elif isinstance(value, int | float | str | dict | tuple):
            found[name] = f"{name} = {value!r}"
