"""Make mistakes by rule: change the specification of an op (its NumPy code) in every usual way.

The operators of `operators` change one node of the syntax tree. This file adds edits of whole functions: an
argument is ignored, two variables are confused, all sums run along another axis. `made` keeps only real
mistakes: edits that change the results of a drawn case.
"""

import ast
import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyllm.ops import OPS, override
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import expectation, outcome, require_close
from tinyllm.testing.edits import MISTAKES, VARIANTS, Edit, changed, code, edit_trees, parsed, swapped
from tinyllm.testing.operators import ACTIVATIONS, OPERATORS, called, order, shifted, stops
from tinyllm.testing.relations import bind, specs_only

LEFT_ALONE = ("shapes",)  # helpers of many ops, which nobody writes again
ROWS = {  # what may be done to the rows of an argument
    "each row of {} divided by its length": "{0} / np.sqrt(({0} * {0}).sum(axis=-1, keepdims=True))",
    "the mean of each row of {} taken away": "{0} - {0}.mean(axis=-1, keepdims=True)",
    "{} divided by the square root of its width": "{0} / max({0}.shape[-1], 1) ** 0.5",
    "each row of {} sorted": "np.sort({0}, axis=-1)",
    "each row of {} sorted, the largest first": "-np.sort(-{0}, axis=-1)",
    "softmax taken of {} first": "np.exp({0} - {0}.max(axis=-1, keepdims=True, initial=-1e9)); "
                                 "{0} = {0} / {0}.sum(axis=-1, keepdims=True)",
}
Mistake = tuple[str, Callable[..., Any]]  # a sentence and a wrong function


def kind(value: Any) -> str:
    """Return the kind of an array's numbers as NumPy's letter, such as "f"; return "" for other values."""
    return value.dtype.kind if isinstance(value, np.ndarray | np.generic) else ""


def parameters(tree: ast.FunctionDef, example: dict[str, Any],
               kept: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield mistakes about arguments: one is ignored, one is too large or small, or two are exchanged.

    A mistake is a pair: a sentence, and a statement to insert at the beginning of the function.

    example: the arguments of a case, by name.
    kept: the arguments that the op changes in place; they must not be replaced by new arrays.
    """
    names = [argument.arg for argument in tree.args.args]
    defaults = dict(zip(reversed(names), map(ast.unparse, reversed(tree.args.defaults)), strict=False))
    for name, value in example.items():
        fixed = [defaults[name]] if name in defaults else []
        fixed += ["True", "False"] if isinstance(value, bool) else []
        number = isinstance(value, int | float) and not isinstance(value, bool)
        others = ["0", "1", f"max({name}, 1)", f"min({name}, 1)", f"1 - {name}", f"1 + {name}", f"1 / {name}"]
        fixed += others if number else []
        for other in dict.fromkeys(fixed):
            yield f"{name} ignored and taken as {other}", f"{name} = {other}"
        if type(value) is int:
            yield f"{name} ignored, as if there were no limit", f"{name} = 1_000"
        if type(value) is int or kind(value) in ("i", "u"):
            yield f"{name} one too large", f"{name} = {name} + 1"
            yield f"{name} one too small", f"{name} = {name} - 1"
        if kind(value) in ("i", "u"):
            yield f"{name} rounded to float16", f"{name} = {name}.astype(np.float16)"
        if isinstance(value, list | bytes):
            yield f"nothing done to {name}", f"return list({name})"
        if kind(value) == "f" and np.ndim(value):
            yield f"nothing done to {name}", f"return {name}"
        if isinstance(value, list | bytes) or (np.ndim(getattr(value, "T", 0)) and value.dtype.kind != "f"):
            rows = "..., " if hasattr(value, "ndim") else ""
            for said, part in (("the last of {} alone", "-1:"), ("the first of {} alone", ":1"),
                               ("{} without its last", ":-1"), ("{} without its first", "1:")):  # fmt: skip
                yield said.format(name), f"{name} = {name}[{rows}{part}]"
        for axis in range(-np.ndim(value), 0) if kind(value) and name not in kept else ():
            first = f"np.repeat(np.take({name}, [0], {axis}), {name}.shape[{axis}], {axis})"
            yield f"{name} everywhere as it is at the first place along axis {axis}", f"{name} = {first}"
        if kind(value) == "f" and name not in kept:
            yield f"the absolute value of {name}", f"{name} = np.abs({name})"
            yield f"the sign of {name} turned", f"{name} = -{name}"
            yield f"1 - {name} for {name}", f"{name} = 1 - {name}"
            yield f"{name} rounded to float16", f"{name} = {name}.astype(np.float16).astype(np.float32)"
            yield f"{name} cut to whole numbers", f"{name} = np.trunc({name})"
        if kind(value) and name not in kept:
            yield f"{name} everywhere as its first number", f"{name} = np.full_like({name}, {name}.flat[0])"
    yield from of_several(example, kept)


def of_several(example: dict[str, Any], kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield mistakes about rows of arrays, and exchanged arguments: pairs of a sentence and a statement."""
    floats = [key for key, value in example.items()
              if kind(value) == "f" and np.ndim(value) and key not in kept]  # fmt: skip
    for some in [*([key] for key in floats), *([floats] if len(floats) > 1 else [])]:
        for said, new in ROWS.items():
            yield said.format(" and ".join(some)), "; ".join(f"{key} = {new.format(key)}" for key in some)
    for a, b in itertools.combinations(example, 2):
        if type(example[a]) is not type(example[b]):
            continue
        yield f"{a} and {b} exchanged", f"{a}, {b} = ({b}, {a})"


def names(tree: ast.FunctionDef, whole: Sequence[str] = (), real: Sequence[str] = (),
          ) -> Iterator[tuple[str, ast.AST, ast.AST]]:  # fmt: skip
    """Yield mistakes that use the wrong variable or value, as (sentence, old node, new node).

    whole: variables of whole numbers; they are also made one too large or too small.
    real: variables of other numbers; they are also replaced by their absolute values.
    """
    known = [each.arg for each in tree.args.args]
    loads = []
    for node in ast.walk(ast.Module(tree.body, [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.append(node.id)
        elif isinstance(node, ast.Name):
            loads.append(node)
    stands = where(tree)
    for node in loads:
        here = stands.get(node, "")
        if node.id in whole:
            for by in (1, -1):
                new = shifted(node, by)
                yield f"{code(new)} for `{node.id}`{here}", node, new
        if node.id in real:
            yield f"the absolute value of `{node.id}`{here}", node, called("np.abs", node)
        for other in dict.fromkeys(known) if node.id in known else ():
            if other != node.id:
                yield f"`{other}` for `{node.id}`{here}", node, ast.Name(other, ast.Load())


def where(tree: ast.AST) -> dict[ast.AST, str]:
    """Map each node of a tree to words that quote the node's statement, such as " in `y = x + 1`"."""
    kinds = ast.Assign | ast.AugAssign | ast.Return
    return {node: f" in {code(each)}" for each in ast.walk(tree) if isinstance(each, kinds)
            for node in ast.walk(each)}  # fmt: skip


def everywhere(tree: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield mistakes that change the axis of all calls at once, as (sentence, changed function)."""
    for axis, said in ((0, "the first axis"), (-2, "the last axis but one"), (None, "all axes together")):
        twin = copy.deepcopy(tree)
        found = [each for each in ast.walk(twin) if isinstance(each, ast.keyword) and each.arg == "axis"]
        for each in found:
            each.value = ast.Constant(axis)
        if len(found) > 1:
            yield f"everything along {said}", twin


def proposals(name: str, example: dict[str, Any]) -> Iterator[Mistake]:
    """Yield all edits that rules make to an op's code, even harmless ones, as (sentence, function).

    example: the arguments of a case, by name.
    """
    trees, spec = parsed(name), OPS[name].reference
    yield from inherited(name)
    for said, line in parameters(trees[spec], example, OPS[name].mutates):
        start = ast.parse(line).body
        yield said, Edit(name, trees | {spec: changed(trees[spec], body=start + trees[spec].body)})
    for form in (spec, *VARIANTS.get(name, ())):
        theirs = parsed(name, form)
        edited = [function for function in theirs if function.__module__.rpartition(".")[2] not in LEFT_ALONE
                  and (form is spec or function not in trees)]  # fmt: skip
        for change in (smaller, larger) if form is spec else (smaller,):  # names are many, so the last
            for function in edited:
                for said, tree in change(theirs[function], example):
                    yield said, Edit(name, theirs | {function: tree})


def inherited(name: str) -> Iterator[Mistake]:
    """Yield mistakes in the ops that an op calls, and one activation for another, as (sentence, function)."""
    for function in parsed(name):
        inner = function.__name__
        if inner != name and getattr(OPS.get(inner), "reference", None) is function:
            for said, wrong in MISTAKES.get(inner, ()):
                yield f"a mistake in {inner}: {said}", functools.partial(run_with, name, inner, wrong)
    for other in [each for each in ACTIVATIONS if each != name] if name in ACTIVATIONS else ():
        line = f"return {ACTIVATIONS[other].format('x')}"
        yield f"{other} for {name}", Edit(name, functools.partial(edit_trees, name, "", line))


def run_with(name: str, inner: str, wrong: Callable[..., Any], *args: Any) -> Any:
    """Run the specification of the op `name` with a wrong function in place of the op `inner`."""
    with override(**{inner: wrong}):
        return OPS[name].reference(*args)


def smaller(tree: ast.FunctionDef, example: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every edit of one expression or statement of a function, as (sentence, changed tree)."""
    stands = where(tree)
    for operator in OPERATORS:
        for node in (*ast.walk(ast.Module(tree.body, [])), *tree.args.defaults):
            here = stands.get(node, "") if isinstance(node, ast.Constant) else ""
            for said, new in operator(node):
                yield said + here, swapped(tree, node, new)


def larger(tree: ast.FunctionDef, example: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every edit of several statements or of a variable, as (sentence, changed tree)."""
    yield from order(tree)
    yield from stops(tree)
    yield from everywhere(tree)
    whole = [key for key, value in example.items() if type(value) is int or kind(value) in ("i", "u")]
    real = [key for key, value in example.items() if kind(value) == "f"]
    for said, node, new in names(tree, whole, real):
        yield said, swapped(tree, node, new)


@functools.lru_cache(maxsize=4)
def every_edit(name: str) -> list[Mistake]:
    """List all edits that rules make to an op's code, even harmless ones, as (sentence, function)."""
    example = bind(name, draw_cases(name)[0])
    return [(f"the right formula with {said}", function) for said, function in proposals(name, example)]


@functools.lru_cache(maxsize=4)
def made(name: str) -> list[Mistake]:
    """List the edits that rules make to an op's code and that give a wrong result for a drawn case."""
    with specs_only():
        cases = [(args, expectation(name, args)) for args in draw_cases(name)]
        return [(said, function) for said, function in every_edit(name)
                if any(rejected(name, function, args, wanted) for args, wanted in cases)]  # fmt: skip


def rejected(name: str, function: Callable[..., Any], args: Sequence[Any], wanted: tuple) -> bool:
    """Return True if a function raises an error on a case or returns other results than `wanted`."""
    try:
        require_close(name, outcome(name, function, args) or [], wanted)
    except Exception:
        return True
    return False
