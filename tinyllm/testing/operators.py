"""Make mistakes by rule: each operator changes a specification in a way in which people get it wrong.

An operator is a generator: it takes a node of a syntax tree and yields pairs (sentence, new node). The
sentence describes the change in terms of the code: "the sign of `x` turned". Edits that change no result on
any drawn case are not mistakes, and `made` leaves them out.
"""

import ast
import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tinyllm.ops import OPS
from tinyllm.testing.catalog import draw_cases
from tinyllm.testing.check import outcome, require_expected
from tinyllm.testing.edits import build, changed, parsed
from tinyllm.testing.relations import bind

TURNED = {ast.Add: ast.Sub, ast.Sub: ast.Add}
SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
OTHERS = {ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
          ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,)}  # fmt: skip
REDUCTIONS = {"sum": ("mean", "max"), "mean": ("sum", "max"), "max": ("mean", "min"), "min": ("max",),
              "argmax": ("argmin",)}  # fmt: skip
OTHER_FUNCTION = {"exp": "exp2", "log": "log2", "cos": "sin", "sin": "cos", "rint": "trunc"}
GUARDS = ("max", "min", "np.maximum", "np.minimum")
METHODS = ("swapaxes", "reshape", "astype", "repeat", "cumsum")
KEYWORDS = ("dtype", "initial", "kind", "keepdims")
LEFT_ALONE = ("shapes",)  # helpers of many ops, which a solution does not contain
LONG = 60  # letters of code in a sentence
Edits = Iterator[tuple[str, ast.AST]]  # sentences, and the nodes that take a node's place
Mistake = tuple[str, Callable[..., Any]]  # a sentence and a wrong function


def code(node: ast.AST) -> str:
    """Return the code of a node in backquotes, shortened if it is long."""
    text = " ".join(ast.unparse(node).split())
    return f"`{text if len(text) <= LONG else text[: LONG - 4] + ' ...'}`"


def put(elements: list[Any], i: int, new: Any) -> list[Any]:
    """Return a list with one element replaced."""
    return [*elements[:i], new, *elements[i + 1 :]]


def shifted(node: ast.expr, by: int) -> ast.BinOp:
    """Return the code of the sum of a value and a whole number."""
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))


def is_a(node: ast.AST, kind: Any, *operators: type) -> bool:
    """Return True if a node has the class `kind` and one of the given operators."""
    return isinstance(node, kind) and isinstance(node.op, operators)


def signs(node: Any) -> Edits:
    """Change a sign."""
    if is_a(node, ast.BinOp | ast.AugAssign, ast.Add, ast.Sub):
        term = node.right if isinstance(node, ast.BinOp) else node.value
        yield f"the sign of {code(term)} turned", changed(node, op=TURNED[type(node.op)]())
    if is_a(node, ast.UnaryOp, ast.USub) and ast.unparse(node.operand) not in ("np.inf", "1"):
        yield f"the sign of {code(node.operand)} turned", node.operand


def factors(node: Any) -> Edits:
    """Leave a factor or a divisor out, or multiply by a divisor."""
    if is_a(node, ast.BinOp, ast.Mult):
        yield f"the factor {code(node.left)} missing", node.right
        yield f"the factor {code(node.right)} missing", node.left
    if is_a(node, ast.BinOp, ast.Div, ast.FloorDiv):
        yield f"the division by {code(node.right)} missing", node.left
        yield f"{code(node.left)} multiplied by {code(node.right)}, not divided", changed(node, op=ast.Mult())
    if is_a(node, ast.AugAssign, ast.Mult, ast.Div):
        yield f"{code(node)} left out", ast.Pass()


def terms(node: Any) -> Edits:
    """Leave out a term of a sum, or a part of a condition."""
    if is_a(node, ast.BinOp, ast.Add, ast.BitAnd, ast.BitOr):
        yield f"{code(node.left)} left out", node.right
    if is_a(node, ast.BinOp, ast.Add, ast.Sub, ast.BitAnd, ast.BitOr):
        yield f"{code(node.right)} left out", node.left
    if isinstance(node, ast.BoolOp):
        for i, value in enumerate(node.values):
            rest = node.values[:i] + node.values[i + 1 :]
            yield f"{code(value)} left out", rest[0] if len(rest) == 1 else changed(node, values=rest)


def reductions(node: Any) -> Edits:
    """Replace a sum by a mean or a maximum, and so on."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        for other in REDUCTIONS.get(node.func.attr, ()):
            new = changed(node, func=changed(node.func, attr=other))
            yield f"{other} for {node.func.attr} in {code(node)}", new


def axes(node: Any) -> Edits:
    """Replace an axis by another one."""
    for i, keyword in enumerate(getattr(node, "keywords", ())):
        for axis, said in ((0, "the first axis"), (-1, "the last axis"), (None, "all axes together")):
            if keyword.arg == "axis" and ast.unparse(keyword.value) != str(axis):
                new = changed(keyword, value=ast.Constant(axis))
                yield f"{code(node)} along {said}", changed(node, keywords=put(node.keywords, i, new))


def exchanges(node: Any) -> Edits:
    """Exchange two operands, arguments, results or cases."""
    if is_a(node, ast.BinOp, ast.Sub, ast.Div, ast.MatMult, ast.Pow):
        words = f"{code(node.left)} and {code(node.right)} exchanged"
        yield words, changed(node, left=node.right, right=node.left)
    field = "args" if isinstance(node, ast.Call) else "elts"
    loaded = isinstance(node, ast.Call) or isinstance(getattr(node, "ctx", None), ast.Load)
    several = getattr(node, field, []) if loaded else []
    if any(isinstance(each, ast.Slice) or getattr(each, "value", 0) in (..., None) for each in several):
        several = []  # an index
    for i, (a, b) in enumerate(itertools.pairwise(several)):
        if ast.dump(a) != ast.dump(b):
            order = [*several[:i], b, a, *several[i + 2 :]]
            yield f"{code(a)} and {code(b)} exchanged", changed(node, **{field: order})


def cases(node: Any) -> Edits:
    """Replace a conditional expression by one of its cases."""
    if isinstance(node, ast.IfExp):
        yield f"{code(node.body)} always, whatever {code(node.test)} is", node.body
        yield f"{code(node.orelse)} always, whatever {code(node.test)} is", node.orelse
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.where" and len(node.args) == 3:
        for value in node.args[1:]:
            yield f"{code(value)} everywhere, whatever {code(node.args[0])} is", value


def comparisons(node: Any) -> Edits:
    """Replace > by >=, or by <, and so on."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        kind = type(node.ops[0])
        for new in OTHERS.get(kind, ()):
            yield f"{SIGNS[new]} for {SIGNS[kind]} in {code(node)}", changed(node, ops=[new()])


def edges(node: Any) -> Edits:
    """Start or stop one early or late; leave the first or the last element out; count from 1."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("range", "np.arange"):
        last = min(len(node.args) - 1, 1)
        for i, step in ((last, -1), (last, 1), *(((0, 1), (0, -1)) if last else ())):
            new = changed(node, args=put(node.args, i, shifted(node.args[i], step)))
            yield f"{code(new)} for {code(node)}", new
        if isinstance(node.func, ast.Attribute):
            yield f"{code(node)} counted from 1", shifted(node, 1)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        lower, upper = node.slice.lower, node.slice.upper
        if lower is not None and upper is None:
            later = changed(node, slice=changed(node.slice, lower=shifted(lower, 1)))
            yield f"{code(later)} for {code(node)}", later
        if (lower is None) != (upper is None):
            yield f"{code(node.value)} for {code(node)}", changed(node, slice=ast.Slice())
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value > 1:
        for other in (node.value + 1, node.value - 1):
            yield f"{other} for {node.value}", ast.Constant(other)


def calls(node: Any) -> Edits:
    """Leave out a function call, a guard such as np.maximum, or a keyword; use log2 for log, sin for cos."""
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    if name in GUARDS:
        for value in node.args:
            yield f"{code(value)} alone, without {name}", value
    plain = isinstance(node.func, ast.Name) or name.startswith(("np.", "math."))
    if plain and len(node.args) == 1 and not node.keywords and name not in ("range", "len", *GUARDS):
        yield f"{name} missing around {code(node.args[0])}", node.args[0]
    if isinstance(node.func, ast.Attribute):
        if other := OTHER_FUNCTION.get(node.func.attr):
            yield f"{other} for {node.func.attr}", changed(node, func=changed(node.func, attr=other))
        if node.func.attr in METHODS:
            yield f"{node.func.attr} missing after {code(node.func.value)}", node.func.value
    for i, keyword in enumerate(node.keywords):
        rest = node.keywords[:i] + node.keywords[i + 1 :]
        if keyword.arg in KEYWORDS:
            yield f"{keyword.arg} missing in {code(node)}", changed(node, keywords=rest)


def powers(node: Any) -> Edits:
    """Use another power: no square, no root, the reciprocal; leave out a transpose."""
    if is_a(node, ast.BinOp, ast.Pow):
        yield f"{code(node.left)} without its power {code(node.right)}", node.left
        if is_a(node.right, ast.UnaryOp, ast.USub):
            words = f"{code(node.left)} to the power of {code(node.right.operand)}"
            yield words, changed(node, right=node.right.operand)
        if ast.unparse(node.right) == "-0.5":
            words = f"division by {code(node.left)}, without its square root"
            yield words, changed(node, right=ast.Constant(-1.0))
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield f"{code(node.value)} not transposed", node.value


def flags(node: Any) -> Edits:
    """Replace a literal True by False, or the reverse; leave out a `not`."""
    switch = getattr(node.value, "value", None) if isinstance(node, ast.keyword) else None
    if isinstance(switch, bool):
        new = changed(node, value=ast.Constant(not switch))
        if node.arg not in KEYWORDS:
            yield f"{code(new)} for {code(node)}", new
    if is_a(node, ast.UnaryOp, ast.Not, ast.Invert):
        yield f"`not` missing before {code(node.operand)}", node.operand


def statements(node: Any) -> Edits:
    """Leave out a statement, write = for +=, or make a new array instead of changing one in place."""
    if isinstance(node, ast.AugAssign):
        if is_a(node, ast.AugAssign, ast.Add, ast.Sub):
            yield f"{code(node)} left out", ast.Pass()
        if isinstance(node.op, ast.Add):
            yield f"= for += in {code(node)}", ast.Assign([node.target], node.value)
        if isinstance(node.target, ast.Name):
            new = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
            words = f"`{node.target.id} = ...`, which leaves the caller's array as it was"
            yield words, ast.Assign([node.target], new)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        yield f"{code(node)} left out", ast.Pass()


def results(node: Any) -> Edits:
    """Yield edits of each returned value: negated, doubled, halved, inverted, or under exp or log."""
    whole = getattr(node, "value", None)
    values = whole.elts if isinstance(whole, ast.Tuple) else [whole]
    for i, value in enumerate(values):
        if not isinstance(node, ast.Return) or value is None or isinstance(value, ast.Starred):
            continue
        for said, new in (
            ("the sign of the result {} turned", ast.UnaryOp(ast.USub(), value)),
            ("twice the result {}", ast.BinOp(value, ast.Mult(), ast.Constant(2))),
            ("half of the result {}", ast.BinOp(value, ast.Mult(), ast.Constant(0.5))),
            ("one divided by the result {}", ast.BinOp(ast.Constant(1), ast.Div(), value)),
            ("the exponential of the result {}", called("np.exp", value)),
            ("the logarithm of the result {}", called("np.log", value)),
        ):
            new = changed(whole, elts=put(values, i, new)) if len(values) > 1 else new
            yield said.format(code(value)), ast.Return(new)


def called(name: str, value: ast.expr) -> ast.Call:
    """Return the code of a call of a function with one value."""
    return ast.Call(ast.parse(name, mode="eval").body, [value], [])


def parameters(tree: ast.FunctionDef, example: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (sentence, first statement) that ignores, changes by 1 or exchanges arguments.

    example: the arguments of a case, by name.
    """
    names = [argument.arg for argument in tree.args.args]
    defaults = dict(zip(reversed(names), map(ast.unparse, reversed(tree.args.defaults)), strict=False))
    for name, value in example.items():
        fixed = [defaults[name]] if name in defaults else []
        fixed += ["True", "False"] if isinstance(value, bool) else []
        fixed += ["0", "1"] if isinstance(value, int | float) and not isinstance(value, bool) else []
        for other in dict.fromkeys(fixed):
            yield f"{name} ignored and taken as {other}", f"{name} = {other}"
        if type(value) is int or getattr(getattr(value, "dtype", None), "kind", "") in ("i", "u"):
            yield f"{name} one too large", f"{name} = {name} + 1"
            yield f"{name} one too small", f"{name} = {name} - 1"
    for a, b in itertools.pairwise(names):
        yield f"{a} and {b} exchanged", f"{a}, {b} = ({b}, {a})"


OPERATORS = (signs, factors, terms, reductions, axes, exchanges, cases, comparisons, edges, calls, powers,
             flags, statements)  # fmt: skip


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Walk over the nodes of a tree, except code that only refuses wrong arguments."""
    yield node
    for child in ast.iter_child_nodes(node):
        guard = isinstance(child, ast.If) and isinstance(child.body[0], ast.Raise)
        check = isinstance(child, ast.Expr) and isinstance(getattr(child.value, "func", None), ast.Name)
        if not (guard or check or isinstance(child, ast.Raise)):
            yield from places(child)


class Swap(ast.NodeTransformer):
    """Replace one node of a tree by another."""

    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        """Return the new node in place of the old one, and other nodes unchanged."""
        return self.new if node is self.old else self.generic_visit(node)


def swapped(tree: ast.AST, old: ast.AST, new: ast.AST) -> Any:
    """Return a copy of a tree with a node replaced."""
    memo: dict[int, Any] = {}
    twin = copy.deepcopy(tree, memo)
    return Swap(memo[id(old)], copy.deepcopy(new)).visit(twin)


def proposals(name: str, example: dict[str, Any]) -> Iterator[Mistake]:
    """Yield every edit that the operators make of an op: pairs of a sentence and a function.

    example: the arguments of a case, by name.
    """
    trees, spec = parsed(name), OPS[name].reference
    for said, line in parameters(trees[spec], example):
        start = ast.parse(line).body
        yield said, build(name, trees | {spec: changed(trees[spec], body=start + trees[spec].body)})
    for function, tree in trees.items():
        if function.__module__.rpartition(".")[2] in LEFT_ALONE:
            continue
        for operator in OPERATORS if function is not spec else (*OPERATORS, results):
            for node in places(ast.Module(tree.body, [])):
                for said, new in operator(node):
                    yield said, build(name, trees | {function: swapped(tree, node, new)})


@functools.cache
def every_edit(name: str) -> list[Mistake]:
    """Make every edit of an op by rule: pairs of a sentence and a function, as in MISTAKES."""
    example = bind(name, draw_cases(name)[0])
    return [(f"the right formula with {said}", function) for said, function in proposals(name, example)]


@functools.cache
def made(name: str) -> list[Mistake]:
    """Make an op's mistakes by rule: every edit that `check` rejects on at least one drawn case."""
    return [(said, function) for said, function in every_edit(name)
            if any(rejected(name, function, args) for args in draw_cases(name))]  # fmt: skip


def rejected(name: str, function: Callable[..., Any], args: Sequence[Any]) -> bool:
    """Return True if `check` rejects a function on a case, for its results or because it raises."""
    try:
        require_expected(name, outcome(name, function, args) or [], args)
    except Exception:
        return True
    return False
