"""Make mistakes by rule: an operator changes an op's specification, its NumPy code, as people often do.

An operator takes a node of a syntax tree and yields pairs: a sentence, such as "the sign of `x` turned", and
a node to put in place of the old one. This file has the operators of expressions, `statements` has those of
statements; `by_rule` applies them to every node.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from typing import Any

from tinyllm.ops import OPS
from tinyllm.testing.edits import changed, code, instead, put, swapped
from tinyllm.testing.values import TINY

TURNED = {ast.Add: ast.Sub, ast.Sub: ast.Add}
SIGNS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
OTHERS = {ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt),
          ast.GtE: (ast.Gt, ast.LtE), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,)}
ACTIVATIONS = {"silu": "silu({0})", "gelu": "gelu({0})", "gelu_tanh": "gelu_tanh({0})",
               "x sigmoid(1.702 x)": "({0}) * sigmoid(1.702 * ({0}))", "sigmoid": "sigmoid({0})",
               "np.tanh": "np.tanh({0})", "relu": "np.maximum({0}, 0)"}  # one stands where another belongs
SLOPES = {"silu": "silu_backward(dy, x)", "gelu": "gelu_backward(dy, x)",
          "gelu_tanh": "gelu_tanh_backward(dy, x)", "sigmoid": "dy * sigmoid(x) * (1 - sigmoid(x))",
          "np.tanh": "dy * (1 - np.tanh(x) ** 2)", "relu": "np.where(x > 0, dy, 0)"}  # and their derivatives
REDUCTIONS = {"sum": ("mean", "max"), "mean": ("sum", "max"), "max": ("mean", "min"), "min": ("max",),
              "argmax": ("argmin",)}
OTHER_FUNCTION = {"exp": ("exp2", "expm1"), "log": ("log2", "log10", "log1p"), "cos": ("sin",),
                  "sin": ("cos", "tan"), "rint": ("trunc", "floor"), "sqrt": ("square",),
                  "zeros": ("ones",), "zeros_like": ("ones_like",)}
GUARDS = ("max", "min", "np.maximum", "np.minimum")
METHODS = ("swapaxes", "reshape", "astype", "repeat", "cumsum")
KEYWORDS = ("dtype", "initial", "key", "kind", "keepdims")
ITERATORS = ("range", "pairwise")
WRAPPED = {  # a call, and what is written for it
    "int": ("round({0})", "math.ceil({0})"), "math.cos": ("math.cos(math.degrees({0}))",),
    "np.cos": ("np.cos(np.degrees({0}))", "np.cos(np.radians({0}))"), "np.sin": ("np.sin(np.degrees({0}))",),
    "np.clip": ("{0}", "np.maximum({0}, {1})", "np.minimum({0}, {2})"),
    **{name: tuple(f"{name}({{0}} + {tiny})" for tiny in TINY) for name in ("np.sqrt", "math.sqrt")},
}
Edits = Iterator[tuple[str, ast.AST]]  # sentences, and the nodes that take a node's place


def expression(text: str) -> ast.expr:
    """Parse the code of an expression into a syntax tree."""
    return ast.parse(text, mode="eval").body


def opposite(node: Any) -> Any:
    """Return the syntax tree of -x for the syntax tree of x, or None for None."""
    if node is None or is_a(node, ast.UnaryOp, ast.USub):
        return node and node.operand
    return ast.UnaryOp(ast.USub(), node)


def shifted(node: ast.expr, by: int) -> ast.BinOp:
    """Return the syntax tree of x + `by`, where `node` is the syntax tree of x."""
    return ast.BinOp(node, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))


def is_a(node: ast.AST, kind: Any, *operators: type) -> bool:
    """Return True if a node has the class `kind` and its operator is one of `operators`."""
    return isinstance(node, kind) and isinstance(node.op, operators)


def signs(node: Any) -> Edits:
    """Mutate signs: write + for - or - for +, or drop a minus sign."""
    if is_a(node, ast.BinOp | ast.AugAssign, ast.Add, ast.Sub):
        term = node.right if isinstance(node, ast.BinOp) else node.value
        yield f"the sign of {code(term)} turned", changed(node, op=TURNED[type(node.op)]())
    if is_a(node, ast.UnaryOp, ast.USub) and ast.unparse(node.operand) not in ("np.inf", "1"):
        yield f"the sign of {code(node.operand)} turned", node.operand


def factors(node: Any) -> Edits:
    """Mutate products and quotients: drop or repeat a factor or divisor, or confuse *, / and +."""
    if is_a(node, ast.BinOp, ast.Mult):
        yield f"the factor {code(node.left)} missing", node.right
        yield f"the factor {code(node.right)} missing", node.left
        yield f"{code(node.left)} divided by {code(node.right)}, not multiplied", changed(node, op=ast.Div())
        yield f"{code(node.left)} and {code(node.right)} added, not multiplied", changed(node, op=ast.Add())
        yield f"the factor {code(node.right)} twice", changed(node, left=node)
        yield f"the factor {code(node.left)} twice", changed(node, right=node)
        for value in (node.left, node.right):
            yield f"{code(value)} squared where {code(node)} belongs", ast.BinOp(value, ast.Mult(), value)
    if is_a(node, ast.BinOp, ast.Mult, ast.Div) and is_a(node.left, ast.BinOp, ast.Mult, ast.Div):
        first = node.left
        while is_a(first, ast.BinOp, ast.Mult, ast.Div):
            first = first.left
        yield f"{code(first)} alone where {code(node)} belongs", first
    if is_a(node, ast.BinOp, ast.Div, ast.FloorDiv):
        yield f"the division by {code(node.right)} missing", node.left
        yield f"the division by {code(node.right)} twice", changed(node, left=node)
        root = called("np.sqrt", node.right)
        yield f"{code(node.left)} divided by the square root of {code(node.right)}", changed(node, right=root)
        yield f"{code(node.left)} multiplied by {code(node.right)}, not divided", changed(node, op=ast.Mult())
        words = f"{code(node.right)} subtracted from {code(node.left)}, where it should divide"
        yield words, changed(node, op=ast.Sub())
        yield f"// where / belongs in {code(node)}", changed(node, op=ast.FloorDiv())
        for tiny in TINY:
            more = ast.BinOp(node.right, ast.Add(), expression(tiny))
            yield f"{tiny} added to {code(node.right)} in {code(node)}", changed(node, right=more)
    if is_a(node, ast.BinOp, ast.MatMult):
        yield f"the elementwise product where {code(node)} belongs", changed(node, op=ast.Mult())
        words = f"np.dot where {code(node)} belongs: it pairs each matrix of one stack with all of the other"
        yield words, ast.Call(expression("np.dot"), [node.left, node.right], [])
    if is_a(node, ast.AugAssign, ast.Mult, ast.Div):
        yield f"{code(node)} left out", ast.Pass()


def terms(node: Any) -> Edits:
    """Mutate sums, `and` and `or`: leave out one term, or multiply."""
    if is_a(node, ast.BinOp, ast.Add):
        yield f"{code(node.left)} and {code(node.right)} multiplied, not added", changed(node, op=ast.Mult())
    if is_a(node, ast.BinOp, ast.Add, ast.BitAnd, ast.BitOr):
        yield f"{code(node.left)} left out of {code(node)}", node.right
    if is_a(node, ast.BinOp, ast.Add, ast.Sub, ast.BitAnd, ast.BitOr):
        yield f"{code(node.right)} left out of {code(node)}", node.left
    if is_a(node, ast.BinOp, ast.Sub):
        yield f"{code(node.left)} left out of {code(node)}", opposite(node.right)
    if is_a(node, ast.BinOp, ast.Sub) and ast.unparse(node.left) == "1":
        yield f"{code(node.right)} where {code(node)} belongs", node.right
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "add" and len(node.args) == 2:  # the op
        for i, value in enumerate(node.args):
            yield f"{code(value)} left out of {code(node)}", node.args[1 - i]
    if isinstance(node, ast.BoolOp):
        for i, value in enumerate(node.values):
            rest = node.values[:i] + node.values[i + 1 :]
            yield f"{code(value)} left out", rest[0] if len(rest) == 1 else changed(node, values=rest)


def brackets(node: Any) -> Edits:
    """Mutate brackets: drop the brackets around a sum that is multiplied, or add them."""
    found = []
    if is_a(node, ast.BinOp, ast.Mult):
        for side, other in ((node.left, node.right), (node.right, node.left)):
            if is_a(side, ast.BinOp, ast.Add, ast.Sub):
                found += [changed(side, left=ast.BinOp(side.left, ast.Mult(), other)),
                          changed(side, right=ast.BinOp(side.right, ast.Mult(), other))]
    if is_a(node, ast.BinOp, ast.Add, ast.Sub) and is_a(node.left, ast.BinOp, ast.Mult):
        found.append(changed(node.left, left=changed(node, left=node.left.left)))
    if is_a(node, ast.BinOp, ast.Add, ast.Sub) and is_a(node.right, ast.BinOp, ast.Mult):
        first = node.right
        while is_a(first.left, ast.BinOp, ast.Mult):
            first = first.left
        found.append(swapped(node.right, first.left, changed(node, right=first.left)))
    for new in found:
        yield instead(new, node), new


def reductions(node: Any) -> Edits:
    """Mutate reductions: take a mean or a maximum in place of a sum, and so on."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        for other in REDUCTIONS.get(node.func.attr, ()):
            new = changed(node, func=changed(node.func, attr=other))
            yield f"the {other} where the {node.func.attr} belongs in {code(node)}", new
        power: Any = node.func.value
        if node.func.attr in ("sum", "mean") and is_a(power, ast.BinOp, ast.Pow):
            new = changed(power, left=changed(node, func=changed(node.func, value=power.left)))
            yield instead(new, node), new
        if node.func.attr in ("sum", "mean"):
            axis = next((each.value for each in node.keywords if each.arg == "axis"), ast.Constant(None))
            kept = any(each.arg == "keepdims" for each in node.keywords)
            for at, said in ((-1, "last"), (0, "first")):  # = for += in a loop, or a loop that ends too soon
                index = expression(f"[{at}]" if kept else f"{at}")
                new = ast.Call(expression("np.take"), [node.func.value, index, axis], [])
                yield f"the {said} alone of what {code(node)} adds", new
        if node.func.attr == "sum":
            squared = changed(node.func, value=ast.BinOp(node.func.value, ast.Pow(), ast.Constant(2)))
            root = called("np.sqrt", changed(node, func=squared))
            yield f"the root of the sum of squares where {code(node)} belongs", root
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "matmul":
        turned = any(each.arg == "transpose_a" for each in node.keywords)
        terms = expression(f"max(({ast.unparse(node.args[0])}).shape[{-2 if turned else -1}], 1)")
        yield f"{code(node)} divided by the number of terms in its sums", ast.BinOp(node, ast.Div(), terms)


def axes(node: Any) -> Edits:
    """Mutate the argument `axis=` of a call: take another axis."""
    for i, keyword in enumerate(getattr(node, "keywords", ())):
        for axis, said in ((0, "the first axis"), (-1, "the last axis"), (-2, "the last axis but one"),
                           (None, "all axes together")):
            if keyword.arg == "axis" and ast.unparse(keyword.value) != str(axis):
                new = changed(keyword, value=ast.Constant(axis))
                yield f"{code(node)} taken along {said}", changed(node, keywords=put(node.keywords, i, new))


def exchanges(node: Any) -> Edits:
    """Exchange two operands, arguments or results, or leave out an element of a list."""
    if is_a(node, ast.BinOp, ast.Sub, ast.Div, ast.MatMult, ast.Pow):
        words = f"{code(node.left)} and {code(node.right)} exchanged"
        yield words, changed(node, left=node.right, right=node.left)
    field = "args" if isinstance(node, ast.Call) else "elts"
    several = getattr(node, field, [])
    if any(isinstance(each, ast.Slice) or getattr(each, "value", 0) in (..., None) for each in several):
        several = []  # an index
    for i, each in enumerate(several if isinstance(node, ast.List) and len(several) > 1 else []):
        yield f"{code(each)} left out of {code(node)}", changed(node, elts=several[:i] + several[i + 1 :])
    for i, (a, b) in enumerate(itertools.pairwise(several)):
        if ast.dump(a) != ast.dump(b):
            order = [*several[:i], b, a, *several[i + 2 :]]
            yield f"{code(a)} and {code(b)} exchanged", changed(node, **{field: order})


def cases(node: Any) -> Edits:
    """Mutate conditional expressions and np.where: take one case always, or multiply by the condition."""
    if isinstance(node, ast.IfExp):
        yield f"{code(node.body)} always, whatever {code(node.test)} is", node.body
        yield f"{code(node.orelse)} always, whatever {code(node.test)} is", node.orelse
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.where" and len(node.args) == 3:
        for value in node.args[1:]:
            yield f"{code(value)} everywhere, whatever {code(node.args[0])} is", value
        for sign, value, other in (("", node.args[1], node.args[2]), ("~", node.args[2], node.args[1])):
            if re.search(r"\b0(\.0)?\)?$", ast.unparse(other)):
                words = f"{code(value)} multiplied by 0 in {code(node)}, which keeps NaN and infinity"
                yield words, expression(f"({ast.unparse(value)}) * {sign}({ast.unparse(node.args[0])})")


def repeats(node: Any) -> Edits:
    """Mutate sums: add a term twice. After `factors`, which is likelier: a factor 1/2 is missing."""
    if is_a(node, ast.BinOp, ast.Add, ast.Sub):
        done = "added" if isinstance(node.op, ast.Add) else "subtracted"
        yield f"{code(node.right)} {done} twice", changed(node, left=node)


def numbers(node: Any) -> Edits:
    """Mutate numbers: drop a digit, multiply or divide by 2 or 10, or write -1 for -100."""
    if ast.unparse(node) == "-np.inf":
        for finite in ("-1e9", "0.0", "1e-9"):
            yield f"{finite} where -np.inf belongs", expression(finite)
    if is_a(node, ast.UnaryOp, ast.USub) and type(getattr(node.operand, "value", None)) is int:
        for whole in (-1, 0):
            yield f"{whole} where {code(node)} belongs", ast.Constant(whole)
    if not isinstance(node, ast.Constant) or type(node.value) is not float or not 0 < abs(node.value) < 1e6:
        return
    text = repr(node.value)
    places = [i for i, each in enumerate(text) if each.isdigit() and len(text) > 4 and "e" not in text]
    others = [node.value * 10, node.value / 10, node.value * 2, node.value / 2, node.value * 100]
    others += [float(text[:i] + text[i + 1 :]) for i in places]
    for other in dict.fromkeys(others):
        if other != node.value:
            yield f"{other:.6g} where {text} belongs", ast.Constant(other)


def squares(node: Any) -> Edits:
    """Mutate squares: take the absolute value instead."""
    square = isinstance(node, ast.BinOp) and ast.unparse(node.right) == "2" and isinstance(node.op, ast.Pow)
    if square:
        yield f"the absolute value of {code(node.left)} where its square belongs", called("np.abs", node.left)
    twice = is_a(node, ast.BinOp, ast.Mult) and is_a(node.left, ast.BinOp, ast.Mult)
    if twice and ast.dump(node.left.right) == ast.dump(node.right):
        new = changed(node, left=node.left.left, right=called("np.abs", node.right))
        yield f"the absolute value of {code(node.right)} where its square belongs", new


def comparisons(node: Any) -> Edits:
    """Mutate comparisons: write >= or < for >, and so on."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        kind = type(node.ops[0])
        if kind is ast.NotEq:
            new = changed(node, ops=[ast.GtE()], comparators=[ast.Constant(0)])
            yield instead(new, node), new
        if kind in (ast.Lt, ast.LtE, ast.Gt, ast.GtE):
            for by in (-1, 1):
                new = changed(node, comparators=[shifted(node.comparators[0], by)])
                yield instead(new, node), new
        for new in OTHERS.get(kind, ()):
            yield f"{SIGNS[new]} where {SIGNS[kind]} belongs in {code(node)}", changed(node, ops=[new()])


def edges(node: Any) -> Edits:
    """Mutate ranges and slices: begin or end one element too early or too late, or count from 1."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("range", "np.arange"):
        last = min(len(node.args) - 1, 1)
        for i, step in ((last, -1), (last, 1), *(((0, 1), (0, -1)) if last else ())):
            new = changed(node, args=put(node.args, i, shifted(node.args[i], step)))
            yield instead(new, node), new
        for step in (1, -1) if last else ():
            new = changed(node, args=[shifted(value, step) for value in node.args[:2]] + node.args[2:])
            yield instead(new, node), new
        if isinstance(node.func, ast.Attribute):
            yield f"{code(node)} counted from 1", shifted(node, 1)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        lower, upper = node.slice.lower, node.slice.upper
        moved = []
        if lower is not None and upper is None:
            moved = [ast.Slice(shifted(lower, 1))]
        if lower is None and upper is not None:
            moved = [ast.Slice(None, shifted(upper, -1)), ast.Slice(None, shifted(upper, 1)),
                     ast.Slice(ast.Constant(1), shifted(upper, 1))]
        if lower is not None and upper is not None:
            moved = [ast.Slice(lower, shifted(upper, 1)), ast.Slice(lower, shifted(upper, -1)),
                     ast.Slice(shifted(lower, 1), upper)]
        for part in moved:
            other = changed(node, slice=part)
            yield instead(other, node), other
        if (lower is None) != (upper is None):
            yield f"all of {code(node.value)} where {code(node)} belongs", changed(node, slice=ast.Slice())
            other = changed(node, slice=ast.Slice(opposite(upper), opposite(lower)))
            yield instead(other, node), other
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value > 1:
        for other in (node.value + 1, node.value - 1):
            yield f"{other} where {node.value} belongs", ast.Constant(other)


def calls(node: Any) -> Edits:
    """Mutate calls: drop a call, a keyword or a guard such as np.maximum, or confuse log and log2."""
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    if name in GUARDS:
        for i, value in enumerate(node.args):
            yield f"{code(value)} alone, without the guard {code(node)}", value
            fewer = shifted(value, -1)
            yield f"{code(value)} one too small", changed(node, args=put(node.args, i, fewer))
    for form in WRAPPED.get(name, ()):
        new = expression(form.format(*(f"({ast.unparse(value)})" for value in node.args)))
        yield instead(new, node), new
    if name in ("min", "max") and len(node.args) == 1:
        first = called("next", called("iter", node.args[0]))
        yield f"the first of {code(node.args[0])}, not its {name}", first
    for i, value in enumerate(node.args):
        if isinstance(value, ast.Constant) and type(value.value) is int and value.value in (0, 1):
            new = changed(node, args=put(node.args, i, ast.Constant(1 - value.value)))
            yield instead(new, node), new
    for tiny in TINY if name == "np.log" else ():
        new = ast.BinOp(node.args[0], ast.Add(), expression(tiny))
        yield f"{tiny} added inside the logarithm", changed(node, args=[new])
    if name == "np.argsort":
        x = ast.unparse(node.args[0])
        last = expression(f"({x}).shape[-1] - 1 - np.argsort(({x})[..., ::-1], axis=-1, kind='stable')")
        yield f"the last of equal numbers first in {code(node)}", last
    plain = isinstance(node.func, ast.Name) or name.startswith(("np.", "math."))
    alone = len(node.args) == 1 and (name == "sorted" or not node.keywords)
    if plain and alone and name not in (*ITERATORS, "len", *GUARDS):
        yield f"{name} missing around {code(node.args[0])}", node.args[0]
    for other in ACTIVATIONS if name in ACTIVATIONS else ():
        if other != name:
            new = expression(ACTIVATIONS[other].format(ast.unparse(node.args[0])))
            yield f"{other} where {name} belongs", new
    if isinstance(node.func, ast.Name) and name in OPS and len(node.args) > 1:
        several = len(OPS[name].outputs) > 1
        new = ast.Tuple([node.args[0]] * len(OPS[name].outputs), ast.Load()) if several else node.args[0]
        yield f"{code(node.args[0])} alone where {code(node)} belongs", new
    if isinstance(node.func, ast.Attribute):
        for other in OTHER_FUNCTION.get(node.func.attr, ()):
            new = changed(node, func=changed(node.func, attr=other))
            yield f"{other} where {node.func.attr} belongs", new
        if node.func.attr in METHODS:
            yield f"{node.func.attr} missing after {code(node.func.value)}", node.func.value
    for i, keyword in enumerate(node.keywords):
        rest = node.keywords[:i] + node.keywords[i + 1 :]
        if keyword.arg in KEYWORDS:
            yield f"{keyword.arg} missing in {code(node)}", changed(node, keywords=rest)


def powers(node: Any) -> Edits:
    """Mutate powers: drop an exponent, its sign or a square root. Also drop `.T`."""
    if is_a(node, ast.BinOp, ast.Pow):
        yield f"{code(node.left)} without its power {code(node.right)}", node.left
        if is_a(node.right, ast.UnaryOp, ast.USub):
            words = f"{code(node.left)} to the power of {code(node.right.operand)}"
            yield words, changed(node, right=node.right.operand)
        if ast.unparse(node.right) == "-0.5":
            words = f"division by {code(node.left)}, without its square root"
            yield words, changed(node, right=ast.Constant(-1.0))
            if is_a(node.left, ast.BinOp, ast.Add):
                inside, eps = map(ast.unparse, (node.left.left, node.left.right))
                new = expression(f"1 / (({inside}) ** 0.5 + {eps})")
                yield f"{code(node.left.right)} added outside the square root, not inside", new
    if is_a(node, ast.BinOp, ast.Add) and ast.unparse(getattr(node.left, "func", node)) == "np.sqrt":
        new = called("np.sqrt", ast.BinOp(node.left.args[0], ast.Add(), node.right))
        yield f"{code(node.right)} added inside the square root, not outside", new
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield f"{code(node.value)} not transposed", node.value


def flags(node: Any) -> Edits:
    """Mutate booleans: exchange True and False, or drop a `not`."""
    switch = getattr(node.value, "value", None) if isinstance(node, ast.keyword) else None
    if isinstance(switch, bool):
        new = changed(node, value=ast.Constant(not switch))
        if node.arg not in KEYWORDS:
            yield instead(new, node), new
    if is_a(node, ast.UnaryOp, ast.Not, ast.Invert):
        yield f"`not` missing before {code(node.operand)}", node.operand


def called(name: str, value: ast.expr) -> ast.Call:
    """Return the syntax tree of a call of the function `name` with the argument `value`."""
    return ast.Call(expression(name), [value], [])


OPERATORS = (terms, signs, factors, brackets, reductions, axes, calls, cases, exchanges, comparisons, edges,
             powers, squares, repeats, numbers, flags)
