"""Make mistakes by rule: change the specification of an op (its NumPy code) in the ways that people do.

The operators of `operators` change one node of the syntax tree. This file adds edits of whole functions: an
argument is ignored, two variables are confused, all sums run along another axis, or something is done to a
right result. Some edits are harmless: they change no result.
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
from tinyllm.testing.check import arrays
from tinyllm.testing.edits import MISTAKES, VARIANTS, Edit, as_function, changed, code, parsed, swapped
from tinyllm.testing.operators import ACTIVATIONS, OPERATORS, SLOPES
from tinyllm.testing.relations import bind
from tinyllm.testing.values import ONE_OFF, ROWS, TINY, changes, kind, result_changes

CONSTANTS = ("0", "1", "max({0}, 1)", "min({0}, 1)", "1 - {0}", "1 + {0}", "1 / {0}")
PARTS = {"the last of {0} alone": "-1:", "the first of {0} alone": ":1", "{0} without its last": ":-1",
         "{0} without its first": "1:", "{0} in reverse order": "::-1"}
Mistake = tuple[str, Callable[..., Any]]  # a sentence and a wrong function


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
        if isinstance(value, list | bytes) or (kind(value) == "f" and np.ndim(value)):
            yield f"nothing done to {name}", f"return {name if kind(value) else f'list({name})'}"
        where_given = f"if {name} is not None: " * (defaults.get(name) == "None")
        for said, new in taken(value, defaults.get(name), name in kept).items():
            yield said.format(name), f"{where_given}{name} = {new.format(name)}"
    yield from of_several(example, kept)


def taken(value: Any, default: str | None, kept: bool) -> dict[str, str]:
    """Return wrong values for an argument -> {sentence: expression}; {0} is the argument's name.

    kept: True if the argument must not be replaced by a new array.
    """
    letter, is_number = kind(value), isinstance(value, int | float) and not isinstance(value, bool)
    fixed = [default] if default else []
    fixed += ["True", "False", "not {0}"] if isinstance(value, bool) else []
    fixed += CONSTANTS if is_number else ()
    fixed += TINY if isinstance(value, float) else ()
    found = {f"{other} where {{0}} belongs" if "{0}" in other else f"{{0}} ignored and taken as {other}":
             other for other in fixed}
    if isinstance(value, list) and all(type(each) is int for each in value):
        found["{0} ignored and taken as 1 each"] = "[1] * len({0})"
    if type(value) is int:
        found["{0} ignored, as if there were no limit"] = "1_000"
    if isinstance(value, list | tuple | bytes) or (np.ndim(value) and letter in ("i", "u", "b")):
        found |= {said: f"{{0}}[{'..., ' * bool(letter)}{part}]" for said, part in PARTS.items()}
    others = ONE_OFF if type(value) is int or letter in ("i", "u") else {}
    if not kept and letter == "f":
        others = {"{0} ignored and taken as 0": "np.zeros_like({0})",
                  "{0} ignored and taken as 1": "np.ones_like({0})"}
        others |= {"{0} transposed": "np.swapaxes({0}, -1, -2)"} if np.ndim(value) > 1 else {}
    if not kept and (letter or isinstance(value, float)):
        others = others | changes(value)
    number = "type({{0}})({})" if is_number else "{}"  # a Python number keeps its type
    return found | {said: number.format(new) for said, new in others.items()}


def of_several(example: dict[str, Any], kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield mistakes in the rows of all float arrays, and exchanged arguments, as (sentence, statement)."""
    floats = [key for key, value in example.items()
              if kind(value) == "f" and np.ndim(value) and key not in kept]
    for said, new in ROWS.items() if len(floats) > 1 else ():
        lines = "; ".join(f"{key} = {new.format(key)}" for key in floats)
        yield said.format(" and ".join(floats)), lines
    for a, b in itertools.combinations(example, 2):
        if type(example[a]) is type(example[b]):
            yield f"{a} and {b} exchanged", f"{a}, {b} = ({b}, {a})"


def nodes(tree: ast.FunctionDef, example: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every edit that OPERATORS make to one node of a function, as (sentence, changed tree)."""
    stands = where(tree)
    for operator in OPERATORS:
        for node in (*ast.walk(ast.Module(tree.body, [])), *tree.args.defaults):
            here = stands.get(node, "") if isinstance(node, ast.Constant) else ""
            for said, new in operator(node):
                yield said + here, swapped(tree, node, new)


def names(tree: ast.FunctionDef, example: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield mistakes that use the wrong variable or value, as (sentence, changed tree).

    Arguments that are whole numbers in the example are also made one too large or too small; other numbers
    are replaced by their absolute values.
    """
    known = [each.arg for each in tree.args.args]
    loads = []
    new: ast.expr
    for node in ast.walk(ast.Module(tree.body, [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.append(node.id)
        elif isinstance(node, ast.Name):
            loads.append(node)
    stands = where(tree)
    for node in loads:
        here = stands.get(node, "")
        value = example.get(node.id)
        if type(value) is int or kind(value) in ("i", "u"):
            for by in "+-":
                new = ast.parse(f"{node.id} {by} 1", mode="eval").body
                yield f"{code(new)} where `{node.id}` belongs{here}", swapped(tree, node, new)
        if kind(value) == "f":
            new = ast.parse(f"np.abs({node.id})", mode="eval").body
            yield f"the absolute value of `{node.id}`{here}", swapped(tree, node, new)
        for other in dict.fromkeys(known) if node.id in known else ():
            if other != node.id:
                new = ast.Name(other, ast.Load())
                yield f"`{other}` where `{node.id}` belongs{here}", swapped(tree, node, new)


def where(tree: ast.AST) -> dict[ast.AST, str]:
    """Map each node of a tree to words that quote the node's statement, such as " in `y = x + 1`"."""
    kinds = ast.Assign | ast.AugAssign | ast.Return
    return {node: f" in {code(each)}" for each in ast.walk(tree) if isinstance(each, kinds)
            for node in ast.walk(each)}


def everywhere(trees: dict[Any, ast.FunctionDef]) -> Iterator[tuple[str, dict[Any, ast.FunctionDef]]]:
    """Yield mistakes that change all axes, all sums or all means at once, as (sentence, changed trees)."""
    edits: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("everything along the first axis", {"arg": "axis"}, {"value": ast.Constant(0)}),
        ("everything along the last axis but one", {"arg": "axis"}, {"value": ast.Constant(-2)}),
        ("everything along all axes together", {"arg": "axis"}, {"value": ast.Constant(None)}),
        ("the mean wherever a sum belongs", {"attr": "sum"}, {"attr": "mean"}),
        ("the sum wherever a mean belongs", {"attr": "mean"}, {"attr": "sum"}),
        ("the largest wherever a sum belongs", {"attr": "sum"}, {"attr": "max"}),
    ]
    for said, old, new in edits:
        twins = copy.deepcopy(trees)
        found = [node for tree in twins.values() for node in ast.walk(tree)
                 if old.items() <= vars(node).items()]
        for node in found:
            vars(node).update(new)
        if len(found) > 1:
            yield said, twins


def proposals(name: str, example: dict[str, Any], near: bool) -> Iterator[Mistake]:
    """Yield all edits that rules make to an op's code, even harmless ones, as (sentence, function).

    example: the arguments of a case, by name. near: True for edits of the specification, its own helpers and
    its arguments; False for edits of the ops that it calls, and of other right forms.
    """
    trees, spec = parsed(name), OPS[name].reference
    if near:
        yield from inherited(name)
        for said, line in parameters(trees[spec], example, OPS[name].mutates):
            body = ast.parse(line).body + trees[spec].body
            yield said, Edit(name, trees | {spec: changed(trees[spec], body=body)})
        for said, twins in everywhere({each: tree for each, tree in trees.items() if not left_alone(each)}):
            yield said, Edit(name, trees | twins)
    for form in (spec, *VARIANTS.get(name, ())):
        theirs = parsed(name, form)
        edited = [each for each in theirs if not left_alone(each) and (form is spec or each not in trees)
                  and near == (form is spec and not (each.__name__ in OPS and each is not spec))]
        for change in (nodes, names) if form is spec else (nodes,):  # `names` makes the most edits
            for function in edited:
                for said, tree in change(theirs[function], example):
                    said += ", if it is written in another way" * (form is not spec)
                    yield said, Edit(name, theirs | {function: tree})


def left_alone(function: Callable[..., Any]) -> bool:
    """Return True for helpers in ops/shapes.py: many ops share them, so no mistakes are made there."""
    return function.__module__.endswith(".shapes")


def inherited(name: str) -> Iterator[Mistake]:
    """Yield mistakes in the ops that an op calls, and one activation for another, as (sentence, function)."""
    for function in parsed(name):
        inner = function.__name__
        if inner != name and getattr(OPS.get(inner), "reference", None) is function:
            for said, wrong in MISTAKES.get(inner, ()):
                yield f"a mistake in {inner}: {said}", functools.partial(run_with, name, inner, wrong)
    stem = name.removesuffix("_backward")
    for other, formula in (ACTIVATIONS if stem == name else SLOPES).items() if stem in ACTIVATIONS else ():
        if other != stem:
            words = "the derivative of {} where that of {} belongs" if stem != name else "{} where {} belongs"
            yield words.format(other, stem), Edit(name, changes=("", f"return {formula.format('x')}"))


def run_with(name: str, inner: str, wrong: Callable[..., Any], *args: Any) -> Any:
    """Run the specification of the op `name` with a wrong function in place of the op `inner`."""
    with override(**{inner: wrong}):
        return OPS[name].reference(*args)


def typical(name: str) -> dict[str, Any]:
    """Return {argument: example} for an op: the drawn array with the most axes; else the first value."""
    cases = [bind(name, args) for args in draw_cases(name)]
    return {key: max((case[key] for case in cases), key=lambda value: (value is not None, np.ndim(value)))
            if all(kind(case[key]) or case[key] is None for case in cases) else cases[0][key]
            for key in cases[0]}


def of_results(name: str) -> Iterator[Mistake]:
    """Yield edits of right results, as (sentence, function): one result is negated, rounded, reversed..."""
    if OPS[name].mutates:  # its results are not returned
        return
    largest = max(draw_cases(name), key=lambda args: sum(a.ndim for a in arrays(args)))
    example, value = bind(name, largest), OPS[name].reference(*largest)
    results = value if isinstance(value, tuple) else (value,)
    for i, (label, result) in enumerate(zip(OPS[name].outputs, results, strict=False)):
        for said, new in result_changes(result, example).items():
            change = as_function(new, *example)
            yield said.format(f"the right {label}"), functools.partial(with_changed_result, name, i, change)


def with_changed_result(name: str, i: int, change: Callable[..., Any], *args: Any) -> Any:
    """Run an op's specification, and change result number i: change(result, *args) -> new result."""
    value = OPS[name].reference(*args)
    if not isinstance(value, tuple):
        return change(value, *args)
    return (*value[:i], change(value[i], *args), *value[i + 1 :])


@functools.lru_cache(maxsize=8)
def shared_edits(name: str, near: bool) -> Any:
    """Return an iterator over edits; its copies begin at the first edit, and share those already made."""
    every = proposals(name, typical(name), near)
    of_code = ((f"the right formula with {said}", function) for said, function in every)
    return itertools.tee(itertools.chain(of_code, of_results(name) if near else ()), 1)[0]


def every_edit(name: str, *parts: bool) -> Iterator[Mistake]:
    """Yield all edits that rules make to an op's code or results, even harmless ones: (sentence, function).

    Edits are made when they are needed: some ops have thousands, and a search often ends after a few.
    parts: values of `near` in `proposals`; by default both.
    """
    return itertools.chain(*(copy.copy(shared_edits(name, near)) for near in parts or (True, False)))


def two_mistakes(name: str) -> Iterator[Mistake]:
    """Yield two listed mistakes at once, or a listed one and an ignored argument, as (sentence, function)."""
    listed = MISTAKES.get(name, ())
    ignored = [(said, Edit(name, changes=("", line))) for said, line in
               parameters(parsed(name)[OPS[name].reference], typical(name), OPS[name].mutates)
               if "ignored" in said or "where" in said]
    for (said, first), (other, second) in itertools.chain(
            itertools.combinations(listed, 2), itertools.product(listed, ignored)):
        if both := combined(name, first, second):
            yield f"two mistakes: {said}; and {other}", both


def combined(name: str, *pair: Any) -> Callable[..., Any] | None:
    """Combine two edits, or an edit that only changes arguments and a wrong function; None for others."""
    first, second = sorted(pair, key=lambda function: not getattr(function, "changes", ()))  # edits are first
    old, *new = getattr(first, "changes", ()) or ("none",)
    if getattr(second, "changes", ()):
        return Edit(name, changes=(old, *new, *second.changes))
    if old or len(new) > 1 or "return" in new[0]:
        return None
    spec, arguments = OPS[name].reference, ", ".join(OPS[name].__signature__.parameters)
    body = ast.parse(f"{new[0]}\nreturn ({arguments},)").body
    given = Edit(name, {spec: changed(parsed(name)[spec], body=body)})
    return lambda *args: second(*given(*args))
