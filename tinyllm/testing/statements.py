"""Make mistakes in statements by rule: one is left out, moved or done another number of times.

The operators are like those of `operators`: they take a node and yield pairs of a sentence and another node.
"""

import ast
import itertools
from typing import Any

from tinyllm.testing.edits import changed, code, put
from tinyllm.testing.operators import Edits, expression, is_a

GROWING = ("append", "extend", "update")
ROUNDS = {"{} without its first": "list({})[1:]", "{} without its last": "list({})[:-1]",
          "the first of {} alone": "list({})[:1]", "{} in reverse order": "list({})[::-1]",
          "each of {} only once": "dict.fromkeys({})"}


def statements(node: Any) -> Edits:
    """Mutate statements: drop one, write = for +=, or make a new array instead of changing one in place."""
    if isinstance(node, ast.AugAssign):
        if is_a(node, ast.AugAssign, ast.Add, ast.Sub):
            yield f"{code(node)} left out", ast.Pass()
        if isinstance(node.op, ast.Add):
            yield f"= where += belongs in {code(node)}", ast.Assign([node.target], node.value)
            yield f"*= where += belongs in {code(node)}", changed(node, op=ast.Mult())
        if isinstance(node.target, ast.Name):
            new = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
            words = f"`{node.target.id} = ...`, which leaves the caller's array as it was"
            yield words, ast.Assign([node.target], new)
    call = ast.unparse(getattr(node.value, "func", node)) if isinstance(node, ast.Expr) else ""
    if call == "np.add.at":
        array, at, value = map(ast.unparse, node.value.args)
        plain = ast.parse(f"{array}[{at}] += {value}").body[0]
        yield f"{code(plain)}, which keeps only the last of equal indices", plain
    if call.rpartition(".")[2] in GROWING:
        yield f"{code(node)} left out", ast.Pass()
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        results = node.value.elts
        for i, j in itertools.permutations(range(len(results)), 2):
            words = f"{code(results[j])} returned where {code(results[i])} belongs"
            yield words, ast.Return(changed(node.value, elts=put(results, i, results[j])))
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Name):
        for said, part in (("last", ":-1"), ("first", "1:")):
            yield f"the {said} of {code(node.value)} lost", ast.Return(expression(f"{node.value.id}[{part}]"))
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        for value in ("0", "1"):
            words = f"{value} where {code(node.value)} belongs"
            yield words, ast.Assign(node.targets, expression(value))
    if isinstance(node, ast.Assign):
        if isinstance(node.targets[0], ast.Subscript):
            yield f"+= where = belongs in {code(node)}", ast.AugAssign(node.targets[0], ast.Add(), node.value)
        again = ast.unparse(node.targets[0]) in (each.id for each in ast.walk(node.value)
                                                 if isinstance(each, ast.Name))
        if again or isinstance(node.targets[0], ast.Subscript):
            yield f"{code(node)} left out", ast.Pass()


def rounds(node: Any) -> Edits:
    """Mutate loops: skip the first or last round, skip repeated items, go backwards, or end too soon."""
    if isinstance(node, ast.For | ast.comprehension):
        for said, new in ROUNDS.items():
            other = expression(new.format(ast.unparse(node.iter)))
            yield said.format(code(node.iter)), changed(node, iter=other)
    for i, line in enumerate(node.body if isinstance(node, ast.For) else ()):
        if isinstance(line, ast.If) and not line.orelse:
            soon = put(node.body, i, changed(line, orelse=[ast.Break()]))
            yield f"a loop that ends where {code(line.test)} is not true", changed(node, body=soon)


def order(node: Any) -> Edits:
    """Mutate the order of statements: move some of them down."""
    body = getattr(node, "body", None)
    if isinstance(node, ast.Module) or not isinstance(body, list) or not isinstance(body[0], ast.stmt):
        return
    last, first = len(body) - isinstance(body[-1], ast.Return), isinstance(body[0], ast.Expr)  # a docstring
    for i, j in itertools.combinations(range(first, last), 2):
        words = f"{code(body[i])} {f'to {code(body[j - 1])} ' * (j > i + 1)}done after what follows it"
        for end in sorted({j + 1, last}):
            yield words, changed(node, body=[*body[:i], *body[j:end], *body[i:j], *body[end:]])


def stops(node: Any) -> Edits:
    """Mutate the end of a function: return a variable as soon as it has a value, and skip the rest."""
    body: list[Any] = node.body if isinstance(node, ast.FunctionDef) else [None]
    last = body[-1]
    if not isinstance(last, ast.Return) or isinstance(last.value, ast.Tuple):
        return
    for i, each in enumerate(body[:-1]):
        target = each.targets[0] if isinstance(each, ast.Assign) else getattr(each, "target", None)
        if isinstance(target, ast.Name):
            soon = ast.Return(ast.Name(target.id, ast.Load()))
            if ast.dump(last) != ast.dump(soon) or i < len(body) - 2:
                yield f"the rest missing after {code(each)}", changed(node, body=[*body[: i + 1], soon])
