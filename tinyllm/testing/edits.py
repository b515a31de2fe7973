"""Mistakes, most of them written as edits: an op's specification with one expression or statement replaced.

    mistake("softmax_backward", "y dy, without the sum over the row",
            "dy - (dy * y).sum(axis=-1, keepdims=True)", "dy")

An edit is applied to the specification's syntax tree. So it is one line, and it fails as soon as the code
that it changes is no longer there. Only a mistake that is another algorithm is a function of its own.
`operators` makes more edits by rule.
"""

import ast
import copy
import functools
import inspect
import math
import textwrap
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm.ops import OPS
from tinyllm.testing.properties import RIGHT

COMMON = {"math": math, "np": np, **OPS}  # what the new code of an edit may use besides what its module knows
MISTAKES: dict = {}  # op -> list of (sentence, function)
VARIANTS: dict = {}  # op -> list of right functions, written differently: a checker must accept them all


def mistake(name: str, sentence: str, *changes: str, breaks: str = RIGHT, times: int = 1) -> Any:
    """Register a mistake that people make in an op: an edit of its specification, or the function below.

    The sentence completes "your output equals ...". changes: old code, new code, and so on in pairs, as in
    `edited`; without any, this is a decorator of a function. breaks: the property that is meant to reject
    it, from `properties`; without it, any that looks at numbers.
    """

    def register(function):
        function.breaks = breaks
        MISTAKES.setdefault(name, []).append((sentence, function))
        return function

    return register(Edit(name, changes, times)) if changes else register


class Edit:
    """Run an op's specification with some of its code replaced; the replacing is done at the first call."""

    def __init__(self, name, changes, times=1):
        self.__name__, self.changes, self.times = name, changes, times
        self.__signature__ = OPS[name].__signature__

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """Make the edited specification. Raises ValueError where it has no such code."""
        return edited(self.__name__, *self.changes, times=self.times)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def variant(name: str) -> Callable[..., Any]:
    """Register a right function that is written differently from the specification."""

    def register(function):
        VARIANTS.setdefault(name, []).append(function)
        return function

    return register


def edited(name: str, *changes: str, times: int = 1) -> Callable[..., Any]:
    """Return an op's specification with code replaced: `old, new` in pairs, expressions or whole statements.

    Old code is looked for in the specification, then in the helper functions that it calls. A new of "" takes
    a statement out; an old of "" puts statements at the start. Raises ValueError unless each old occurs as
    often as `times` says.
    """
    return build(name, edit_trees(name, *changes, times=times))


def edit_trees(name: str, *changes: str, times: int = 1) -> dict[Any, ast.FunctionDef]:
    """Return the syntax trees of an edited specification, as `parsed` gives them."""
    trees = dict(parsed(name))
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        spec = OPS[name].reference
        if not old:
            trees[spec] = changed(trees[spec], body=as_statements(parse(new)) + trees[spec].body)
            continue
        pattern, code = parse(old), parse(new)
        if isinstance(code, list) and not isinstance(pattern, list):
            pattern = as_statements(pattern)
        where = next((function for function, tree in trees.items() if count(tree, pattern)), spec)
        found = count(trees[where], pattern)
        if found != times:
            raise ValueError(f"{name}: {old!r} occurs {found} times in the specification, not {times}")
        trees[where] = Replace(pattern, code).visit(copy.deepcopy(trees[where]))
    return trees


def strip_types(tree: Any) -> None:
    """Take the types out of a function's signature, in place: they name what its readers may not have."""
    tree.returns = None
    signature = tree.args
    for argument in [*signature.args, *signature.kwonlyargs, signature.vararg, signature.kwarg]:
        if argument is not None:
            argument.annotation = None


@functools.cache
def parsed(name: str) -> dict[Any, ast.FunctionDef]:
    """Parse the functions that make up a specification: {function: tree}, the op's own, then its helpers."""
    found: dict[Any, ast.FunctionDef] = {}
    todo: list[Any] = [OPS[name].reference]
    while todo:
        function = todo.pop(0)
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        tree.decorator_list = []
        strip_types(tree)
        found[function] = tree
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        for value in (function.__globals__.get(each) for each in names):
            ours = isinstance(value, types.FunctionType) and value.__module__.startswith("tinyllm.ops.")
            if ours and value not in found and value not in todo:
                todo.append(value)
    return found


def build(name: str, trees: dict[Any, ast.FunctionDef]) -> Callable[..., Any]:
    """Run the definitions of some functions, and let them call each other -> the op's own."""
    spaces = {function.__module__: COMMON | function.__globals__ for function in trees}
    for function, tree in trees.items():
        module = ast.fix_missing_locations(ast.Module([EndedLoops().visit(copy.deepcopy(tree))], []))
        exec(compile(module, f"<{name}, edited>", "exec"), spaces[function.__module__])
    made = {function: spaces[function.__module__][function.__name__] for function in trees}
    for space in spaces.values():
        helpers = {key: made[value] for key, value in space.items()
                   if isinstance(value, types.FunctionType) and value in made}
        space.update(helpers)
    return made[OPS[name].reference]


class EndedLoops(ast.NodeTransformer):
    """Let every `while` end after 1,000 rounds, for an edit may take away what ends it."""

    def visit_While(self, node: ast.While) -> ast.For:
        """Return a `for` that breaks where the condition is false, and raises where it goes on."""
        self.generic_visit(node)
        ending = ast.If(ast.UnaryOp(ast.Not(), node.test), [ast.Break()], [])
        rounds = ast.parse("range(1_000)", mode="eval").body
        endless = ast.parse("raise RuntimeError('a loop without an end')").body
        return ast.For(ast.Name("_", ast.Store()), rounds, [ending, *node.body], endless)


def parse(code: str) -> Any:
    """Parse code -> an expression's node, or a list of statements."""
    try:
        return ast.parse(code.strip(), mode="eval").body
    except SyntaxError:
        return ast.parse(textwrap.dedent(code)).body


def matches(node: ast.AST, pattern: Any) -> bool:
    """Return whether a node is the code looked for."""
    wanted = pattern[0] if isinstance(pattern, list) else pattern
    return type(node) is type(wanted) and ast.dump(node) == ast.dump(wanted)


def count(tree: ast.AST, pattern: Any) -> int:
    """Count the nodes of a syntax tree that equal the pattern."""
    return sum(matches(node, pattern) for node in ast.walk(tree))


def as_statements(code: Any) -> list[Any]:
    """Return code as a list of statements."""
    return code if isinstance(code, list) else [ast.Expr(code)]


def changed(node: Any, **fields: Any) -> Any:
    """Return a copy of a node with some fields replaced."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


class Replace(ast.NodeTransformer):
    """Put new code in every place of the old."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node: Any) -> Any:
        """Return what takes the place of a node."""
        if not matches(node, self.old):
            return self.generic_visit(node)
        if isinstance(self.old, list):
            return copy.deepcopy(as_statements(self.new)) or ast.Pass()
        return copy.deepcopy(self.new)
