"""Define mistakes as edits: an op's specification (its NumPy code) with one expression replaced.

    mistake("softmax_backward", "y dy, without the sum over the row",
            "dy - (dy * y).sum(axis=-1, keepdims=True)", "dy")

An edit changes the syntax tree of the specification, and raises an error if the old code does not exist. A
mistake that uses another algorithm is written as a function instead. `operators` makes more edits by rule;
an exercise lists a mistake even if a rule makes it, too, where the rule's sentence says too little.
"""

import ast
import contextlib
import copy
import functools
import inspect
import math
import re
import textwrap
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm.ops import OPS
from tinyllm.ops.registry import Op
from tinyllm.testing.properties import RIGHT

LONG = 70  # the most characters of code that are quoted in a sentence
COMMON = {"math": math, "np": np, **OPS}  # names that new code may use, besides names of the op's module
MISTAKES: dict = {}  # op -> list of (sentence, function)
VARIANTS: dict = {}  # op -> list of right functions, written differently: a checker must accept them all


def mistake(name: str, sentence: str, *changes: str, breaks: str = RIGHT) -> Any:
    """Register a mistake that people make in an op: an edit of its specification, or a decorated function.

    sentence: completes "your output equals ...".
    changes: old code, new code, old code, new code, ... as in `edit_trees`. Without changes the result is a
        decorator for a wrong function.
    breaks: the property in `properties` that the mistake breaks; by default, that the numbers are right.
    """

    def register(function):
        function.breaks = breaks
        MISTAKES.setdefault(name, []).append((sentence, function))
        return function

    return register(Edit(name, changes=changes)) if changes else register


class Edit:
    """A changed specification of an op (its NumPy code), which is compiled when it is first called.

    trees: {function: syntax tree} with the op's own function first; by default, `edit_trees` makes them.
    changes: the arguments of `edit_trees`.
    """

    def __init__(self, name, trees=None, changes=()):
        self.__name__, self.trees, self.changes = name, trees, changes
        self.__signature__ = OPS[name].__signature__

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """Compile the changed specification; raise ValueError if the code to be changed does not exist."""
        return build(self.__name__, self.trees or edit_trees(self.__name__, *self.changes))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def variant(name: str) -> Callable[..., Any]:
    """Register a right implementation of an op, a function or lambda not written like the specification."""

    def register(function):
        function.__name__ = function.__name__.replace("<lambda>", f"{name}_in_short")
        VARIANTS.setdefault(name, []).append(function)
        return function

    return register


def edit_trees(name: str, *changes: str) -> dict[Any, ast.FunctionDef]:
    """Return {function: changed syntax tree} for an op's specification, its NumPy code, and its helpers.

    changes: old code, new code, old code, ...: expressions or statements. Old code is looked for in the
        specification, then in the helper functions that it calls. If new is "", the statement is removed. If
        old is "", new is inserted at the start.

    Raises ValueError unless each old code occurs once.
    """
    trees = dict(parsed(name))
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        spec = OPS[name].reference
        if not old:
            trees[spec] = changed(trees[spec], body=as_statements(parse(new)) + trees[spec].body)
            continue
        pattern, code = parse(old), parse(new)
        if isinstance(code, list) or isinstance(pattern, list):
            (pattern,), code = as_statements(pattern), as_statements(code) or ast.Pass()
        places = [(function, node) for function, tree in trees.items() for node in ast.walk(tree)
                  if equal(node, pattern)]
        first = [place for place in places if place[0] is places[0][0]]
        if len(first) != 1:
            raise ValueError(f"{name}: {old!r} occurs {len(first)} times in the specification, not once")
        function, node = first[0]
        trees[function] = swapped(trees[function], node, code)
    return trees


class Unguarded(ast.NodeTransformer):
    """Remove the checks of arguments from a function, so that a mistake runs and gives a result."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.body[-1], ast.Raise) else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(getattr(node.value, "func", None), ast.Name) else node


@functools.cache
def tree_of(function: Callable[..., Any], guarded: bool = False) -> ast.FunctionDef:
    """Return a function's syntax tree without decorators, type hints and, if not `guarded`, checks."""
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree = (tree if guarded else Unguarded().visit(tree)).body[0]
    if isinstance(tree, ast.Expr):  # variant("add")(lambda x, y: y + x)
        form = next(node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
        tree = ast.parse(f"def {function.__name__}(): return 0").body[0]
        tree.args, tree.body[0].value = form.args, form.body
    tree.decorator_list, tree.returns = [], None
    for node in ast.walk(tree.args):
        if isinstance(node, ast.arg):
            node.annotation = None  # the function may be compiled where its types are unknown
    return tree


@functools.cache
def parsed(name: str, form: Callable[..., Any] | None = None) -> dict[Any, ast.FunctionDef]:
    """Return {function: syntax tree} for an op's specification and, after it, the helpers that it calls.

    form: a right variant of the op, to be parsed in place of the specification.
    """
    found: dict[Any, ast.FunctionDef] = {}
    todo: list[Any] = [form or OPS[name].reference]
    while todo:
        function = todo.pop(0)
        tree = found[function] = tree_of(function)
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        for value in (function.__globals__.get(each) for each in names):
            value = value.reference if isinstance(value, Op) else value  # ops call ops
            ours = isinstance(value, types.FunctionType) and \
                value.__module__.startswith(("tinyllm.ops.", OPS[name].reference.__module__))
            if ours and value not in found and value not in todo:
                todo.append(value)
    return found


def build(name: str, trees: dict[Any, ast.FunctionDef]) -> Callable[..., Any]:
    """Compile the syntax trees of an op and of its helper functions; return the op's function."""
    spaces = {function.__module__: COMMON | function.__globals__ for function in trees}
    for function, tree in trees.items():
        exec(compiled(tree, name), spaces[function.__module__])
    made = {function: spaces[function.__module__][function.__name__] for function in trees}
    for module, key, function in links(*trees):
        spaces[module][key] = made[function]
    return made[next(iter(trees))]


@functools.lru_cache(maxsize=256)
def links(*functions: Any) -> list[tuple[str, str, Any]]:
    """List the names by which the functions' modules know these functions, as (module, name, function)."""
    found = []
    for module, space in {each.__module__: COMMON | each.__globals__ for each in functions}.items():
        known = ((key, value.reference if isinstance(value, Op) else value) for key, value in space.items())
        found += [(module, key, value) for key, value in known
                  if isinstance(value, types.FunctionType) and value in functions]
    return found


@functools.lru_cache(maxsize=256)  # most edits change one function of many
def compiled(tree: ast.FunctionDef, name: str) -> types.CodeType:
    """Compile a function's definition; a loop that runs too long will raise an error."""
    loops = any(isinstance(node, ast.While) for node in ast.walk(tree))
    ended = EndedLoops().visit(copy.deepcopy(tree)) if loops else tree
    return compile(ast.fix_missing_locations(ast.Module([ended], [])), f"<{name}, edited>", "exec")


@functools.cache
def as_function(text: str, *arguments: str) -> Callable[..., Any]:
    """Compile an expression from `values` into a function; its arguments are {0} and then `arguments`."""
    space: dict[str, Any] = dict(COMMON)
    exec(f"def function({', '.join(('_result', *arguments))}): return {text.format('_result')}", space)
    return space["function"]


class EndedLoops(ast.NodeTransformer):
    """Make every `while` loop raise an error after 1,000 rounds, because an edited loop may be endless."""

    def visit_While(self, node: ast.While) -> ast.For:
        """Replace a `while` loop by a `for` loop that raises an error after 1,000 rounds."""
        self.generic_visit(node)
        ending = ast.If(ast.UnaryOp(ast.Not(), node.test), [ast.Break()], [])
        rounds = ast.parse("range(1_000)", mode="eval").body
        endless = ast.parse("raise RuntimeError('a loop without an end')").body
        return ast.For(ast.Name("_", ast.Store()), rounds, [ending, *node.body], endless)


def parse(code: str) -> Any:
    """Parse code into the node of an expression, or into a list of statements."""
    try:
        return ast.parse(code.strip(), mode="eval").body
    except SyntaxError:
        return ast.parse(textwrap.dedent(code)).body


def equal(a: Any, b: Any) -> bool:
    """Return True if two syntax trees are the same code."""
    return a is b or (type(a) is type(b) and ast.dump(a) == ast.dump(b))


def as_statements(code: Any) -> list[Any]:
    """Return code as a list of statements; an expression becomes one statement."""
    return code if isinstance(code, list) else [ast.Expr(code)]


def changed(node: Any, **fields: Any) -> Any:
    """Return a copy of a node with some fields replaced."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def put(elements: list[Any], i: int, new: Any) -> list[Any]:
    """Return a list with one element replaced, by several if `new` is a list."""
    return [*elements[:i], *(new if isinstance(new, list) else [new]), *elements[i + 1 :]]


def swapped(tree: Any, old: ast.AST, new: Any) -> Any:
    """Return a syntax tree with one node replaced; only the nodes above the new node are copied.

    new: a node, or a list of statements.
    """
    if tree is old:
        return new
    for field, value in ast.iter_fields(tree):
        several = isinstance(value, list)
        for i, child in enumerate(value if several else [value]):
            twin = swapped(child, old, new) if isinstance(child, ast.AST) else child
            if twin is not child:
                return changed(tree, **{field: put(value, i, twin) if several else twin})
    return tree


def code(node: ast.AST) -> str:
    """Write a node's code in backquotes."""
    return f"`{' '.join(ast.unparse(node).split())}`"


def instead(new: ast.AST, old: ast.AST) -> str:
    """Return "`new` where `old` belongs" for two nodes."""
    return f"{code(new)} where {code(old)} belongs"


class Inlined(ast.NodeTransformer):
    """Replace the local variables of an op's code, which readers do not know, by their values."""

    def __init__(self, values):
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load) or node.id not in self.values:
            return node
        others = {name: value for name, value in self.values.items() if name != node.id}
        return Inlined(others).visit(copy.deepcopy(self.values[node.id]))


@functools.cache
def values_of(name: str) -> dict[str, ast.expr]:
    """Return {variable: expression} for the variables of an op's code that get one value and keep it.

    Those that stand in the op's docstring are left out: readers know them.
    """
    found: dict[str, ast.expr] = {}
    for form in (*VARIANTS.get(name, ()), None):
        nodes = [node for tree in parsed(name, form).values() for node in ast.walk(tree)]
        text = "\n".join(map(ast.unparse, parsed(name, form).values()))
        set_to = re.findall(r"\w+", " ".join(re.findall(r"^.*?(?= [-+*/|&]?= )|^.*def .*", text, re.M)))
        found |= {node.targets[0].id: node.value for node in nodes if isinstance(node, ast.Assign)
                  and isinstance(node.targets[0], ast.Name) and set_to.count(node.targets[0].id) == 1}
        found |= {key: ast.Constant(value) for function in parsed(name, form)
                  for key, value in function.__globals__.items() if isinstance(value, int | float)}
    told = re.findall(r"\w+", OPS[name].__doc__ or "")
    return {variable: value for variable, value in found.items() if variable not in told}


def readable(name: str, said: str) -> str:
    """Rewrite a sentence on an op's code for readers who do not know this code; shorten what it quotes."""
    quoted = []
    for text in re.findall("`([^`]*)`", said):
        try:
            quoted.append(" ".join(ast.unparse(Inlined(values_of(name)).visit(ast.parse(text))).split()))
        except SyntaxError:  # no code
            quoted.append(text)
    texts = iter(shortened(quoted))
    return re.sub("`[^`]*`", lambda found: f"`{next(texts)}`", said)


def shortened(texts: list[str]) -> list[str]:
    """Write "..." for parts of long texts of code, such that different texts stay different.

    First, what all texts have is left out, and as little as possible: the smallest part without which a text
    is short, or else the largest.
    """
    while long := next((text for text in texts if len(text) > LONG), None):
        options = []
        for part in parts_of(long):
            new = [re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "...", text).replace("....", "(...).")
                   for text in texts]
            empty = any(re.fullmatch(r"(return |.* = )?\.\.\.", text) for text in new)
            if new != texts and not empty and len(set(new)) == len(set(texts)):
                fits = len(new[texts.index(long)]) <= LONG
                options.append((sum(part not in text for text in texts), not fits,
                                len(part) if fits else -len(part), new))
        if not options:
            cut = long[: LONG - 4].rpartition(" ")[0] + " ..."
            return shortened([cut if text == long else text for text in texts])
        texts = min(options)[-1]
    return texts


def parts_of(text: str) -> list[str]:
    """Return the parts of some code that can be left out: calls, sums and so on, but no names or numbers."""
    with contextlib.suppress(SyntaxError):
        return [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(
            node, ast.BinOp | ast.BoolOp | ast.Call | ast.Compare | ast.IfExp | ast.Subscript)]
    return []
