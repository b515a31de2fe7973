"""Make mistakes by rule: operators change an op's specification, its NumPy code, as people often do.

Most are a line of a table: (sentence, old code, new code). In the code, A to D stand for any expressions, and
*R for all other arguments of a call. In the sentence, {A} is the code of A in backquotes, {a} the same
without them, {old} and {new} are all of the code; an empty sentence means "{new} where {old} belongs". Other
operators are functions of a node. `by_rule` applies each operator to every node of a syntax tree.
"""

import ast
import functools
import itertools
from collections.abc import Iterator
from typing import Any

from tinyllm.ops import OPS
from tinyllm.testing.edits import as_statements, changed, code, equal, instead, parse, put
from tinyllm.testing.values import TINY

ACTIVATIONS = {"silu": "silu({0})", "gelu": "gelu({0})", "gelu_tanh": "gelu_tanh({0})",
               "x sigmoid(1.702 x)": "({0}) * sigmoid(1.702 * ({0}))", "sigmoid": "sigmoid({0})",
               "np.tanh": "np.tanh({0})", "relu": "np.maximum({0}, 0)"}  # one in place of another
SLOPES = {"silu": "silu_backward(dy, x)", "gelu": "gelu_backward(dy, x)",
          "gelu_tanh": "gelu_tanh_backward(dy, x)", "sigmoid": "dy * sigmoid(x) * (1 - sigmoid(x))",
          "np.tanh": "dy * (1 - np.tanh(x) ** 2)", "relu": "np.where(x > 0, dy, 0)"}  # and their derivatives
OTHER_FUNCTION = {"exp": ("exp2", "expm1"), "log": ("log2", "log10", "log1p"), "cos": ("sin",),
                  "sin": ("cos", "tan"), "rint": ("trunc", "floor"), "sqrt": ("square",),
                  "zeros": ("ones",), "zeros_like": ("ones_like",)}
REDUCTIONS = {"sum": ("mean", "max"), "mean": ("sum", "max"), "max": ("mean", "min"), "min": ("max",),
              "argmax": ("argmin",)}
COMPARISONS = {"<": ("<=", ">"), "<=": ("<", ">="), ">": (">=", "<"), ">=": (">", "<="), "==": ("!=",),
               "!=": ("==",)}
GUARDS = ("max", "min", "np.maximum", "np.minimum")
Edits = Iterator[tuple[str, ast.AST]]  # pairs of a sentence and the new node

STATEMENTS = [
    ("{old} left out", "A += B", "pass"), ("{old} left out", "A -= B", "pass"),
    ("= where += belongs in {old}", "A += B", "A = B"), ("*= where += belongs in {old}", "A += B", "A *= B"),
    *(("`{a} = ...`, which leaves the caller's array as it was", f"A {sign}= B", f"A = A {sign} B")
      for sign in "+-*"),
    ("{new}, which keeps only the last of equal indices", "np.add.at(A, B, C)", "A[B] += C"),
    ("{old} left out", "A.append(*R)", "pass"),
    ("{old} left out", "A[B] = C", "pass"), ("+= where = belongs in {old}", "A[B] = C", "A[B] += C"),
    ("0 where {B} belongs", "A = B", "A = 0"), ("1 where {B} belongs", "A = B", "A = 1"),
    ("the last of {A} lost", "return A", "return A[:-1]"),
    ("the first of {A} lost", "return A", "return A[1:]"),
]
SUMS = [
    *(("{A} left out of {old}", f"A {sign} B", "B") for sign in "+&|"),
    *(("{B} left out of {old}", f"A {sign} B", "A") for sign in "+-&|"),
    ("{A} and {B} multiplied, not added", "A + B", "A * B"),
    ("{A} left out of {old}", "A - B", "-B"), ("{A} where {old} belongs", "1 - A", "A"),
    ("{A} left out of {old}", "add(A, B)", "B"), ("{B} left out of {old}", "add(A, B)", "A"),
    *((said, f"A {word} B", new) for word in ("and", "or")
      for said, new in (("{A} left out", "B"), ("{B} left out", "A"))),
    *((f"{{{out}}} left out", "A and B and C", new) for out, new in (
        ("A", "B and C"), ("B", "A and C"), ("C", "A and B"))),
    ("the sign of {B} turned", "A + B", "A - B"), ("the sign of {B} turned", "A - B", "A + B"),
    ("the sign of {B} turned", "A += B", "A -= B"), ("the sign of {B} turned", "A -= B", "A += B"),
    ("{A} to the power of {b}, where -{b} belongs", "A ** -B", "A ** B"),
    ("the sign of {A} turned", "-A", "A"),
]
PRODUCTS = [
    ("the factor {A} missing", "A * B", "B"), ("the factor {B} missing", "A * B", "A"),
    ("{A} divided by {B}, not multiplied", "A * B", "A / B"),
    *(("{A} and {B} added, not multiplied", f"A * B {sign} C", f"A + B {sign} C") for sign in "*/"),
    ("{A} and {B} added, not multiplied", "A * B", "A + B"),
    ("the factor {B} twice", "A * B", "A * B * B"), ("the factor {A} twice", "A * B", "A * (A * B)"),
    ("{A} squared where {old} belongs", "A * B", "A * A"),
    ("{B} squared where {old} belongs", "A * B", "B * B"),
    *(("{A} alone where {old} belongs", f"A {one} B {two} C", "A") for one in "*/" for two in "*/"),
    ("the division by {B} missing", "A / B", "A"), ("the division by {B} missing", "A // B", "A"),
    ("the division by {B} twice", "A / B", "A / B / B"),
    ("{A} divided by the square root of {B}", "A / B", "A / np.sqrt(B)"),
    ("{A} multiplied by {B}, not divided", "A / B", "A * B"),
    ("{A} multiplied by {B}, not divided", "A // B", "A * B"),
    ("{B} subtracted from {A}, where it should divide", "A / B", "A - B"),
    ("// where / belongs in {old}", "A / B", "A // B"),
    *((f"{tiny} added to {{B}} in {{old}}", "A / B", f"A / (B + {tiny})") for tiny in TINY),
    ("the elementwise product where {old} belongs", "A @ B", "A * B"),
    ("np.dot where {old} belongs: it pairs each matrix of one stack with all of the other", "A @ B",
     "np.dot(A, B)"),
    ("{old} left out", "A *= B", "pass"),
]
BRACKETS = [
    *(("", old, new) for sign in "+-" for old in (f"A * (B {sign} C)", f"(B {sign} C) * A")
      for new in (f"B * A {sign} C", f"B {sign} C * A")),
    *(("", f"A * B {sign} C", f"(A {sign} C) * B") for sign in "+-"),
    *(("", f"A {sign} {old}", f"(A {sign} B){new}") for sign in "+-"
      for old, new in (("B * C * D", " * C * D"), ("B * C", " * C"))),
]
SUMS_OF_ARRAYS = [
    *((f"the {other} where the {name} belongs in {{old}}", f"A.{name}(*R)", f"A.{other}(*R)")
      for name, others in REDUCTIONS.items() for other in others),
    *(("", f"(A ** B).{name}(*R)", f"A.{name}(*R) ** B") for name in ("sum", "mean")),
    *((f"the {said} alone of what {{old}} adds", f"A.{name}({given})", f"np.take(A, {at}{axis})")
      for name in ("sum", "mean") for said, i in (("last", -1), ("first", 0))
      for given, at, axis in (("", i, ""), ("axis=B", i, ", B"), ("axis=B, keepdims=True", f"[{i}]", ", B"))),
    ("the root of the sum of squares where {old} belongs", "A.sum(*R)", "np.sqrt((A ** 2).sum(*R))"),
    ("{old} divided by the number of terms in its sums", "matmul(A, *R)",
     "matmul(A, *R) / max(A.shape[-1], 1)"),
]
CALLS = [
    *((said, f"{name}(A, B)", new) for name in GUARDS for said, new in (
        ("{A} alone, without the guard {old}", "A"), ("{A} one too small", f"{name}(A - 1, B)"),
        ("{B} alone, without the guard {old}", "B"), ("{B} one too small", f"{name}(A, B - 1)"))),
    *(("", old, new) for old, new in (
        ("int(A)", "round(A)"), ("int(A)", "math.ceil(A)"), ("math.cos(A)", "math.cos(math.degrees(A))"),
        ("np.cos(A)", "np.cos(np.degrees(A))"), ("np.cos(A)", "np.cos(np.radians(A))"),
        ("np.sin(A)", "np.sin(np.degrees(A))"), ("np.clip(A, B, C)", "A"),
        ("np.clip(A, B, C)", "np.maximum(A, B)"), ("np.clip(A, B, C)", "np.minimum(A, C)"),
        ("A(B, 0)", "A(B, 1)"), ("A(B, 1)", "A(B, 0)"), ("A(1, B)", "A(0, B)"))),
    *(("", f"{name}(A)", f"{name}(A + {tiny})") for name in ("np.sqrt", "math.sqrt") for tiny in TINY),
    ("the first of {A}, not its min", "min(A, key=B)", "next(iter(A))"),
    *((f"{tiny} added inside the logarithm", "np.log(A)", f"np.log(A + {tiny})") for tiny in TINY),
    ("the last of equal numbers first in {old}", "np.argsort(A, *R)",
     "A.shape[-1] - 1 - np.argsort(A[..., ::-1], axis=-1, kind='stable')"),
    *((f"{other} where {name} belongs", f"{name}(A)", formula.format("A")) for name in ACTIVATIONS
      for other, formula in ACTIVATIONS.items() if other != name and name.isidentifier()),
    *((f"{other} where {name} belongs", f"A.{name}(*R)", f"A.{other}(*R)")
      for name, others in OTHER_FUNCTION.items() for other in others),
    ("{new}, which reverses all axes of a batch", "A.swapaxes(-1, -2)", "A.T"),
    *((f"{name} missing after {{A}}", f"A.{name}(*R)", "A")
      for name in ("swapaxes", "reshape", "astype", "repeat", "cumsum")),
]
CASES = [
    ("{B} always, whatever {A} is", "B if A else C", "B"),
    ("{C} always, whatever {A} is", "B if A else C", "C"),
    ("{B} everywhere, whatever {A} is", "np.where(A, B, C)", "B"),
    ("{C} everywhere, whatever {A} is", "np.where(A, B, C)", "C"),
    *(("{B} multiplied by 0 in {old}, which keeps NaN and infinity", old, new) for zero in ("0", "C(0)")
      for old, new in ((f"np.where(A, B, {zero})", "B * A"), (f"np.where(A, {zero}, B)", "B * ~A"))),
    *(("{A} and {B} exchanged", f"A {sign} B", f"B {sign} A") for sign in ("-", "/", "@", "**")),
    ("", "A != B", "A >= 0"),
    *((("", f"A {sign} B", f"A {sign} B {by} 1")) for sign in ("<", "<=", ">", ">=") for by in "-+"),
    *((f"{other} where {sign} belongs in {{old}}", f"A {sign} B", f"A {other} B")
      for sign, others in COMPARISONS.items() for other in others),
    ("`not` missing before {A}", "not A", "A"), ("`not` missing before {A}", "~A", "A"),
]
EDGES = [
    *(("", f"{name}({old})", f"{name}({new})") for name in ("range", "np.arange") for old, news in (
        ("A", ("A - 1", "A + 1")),
        ("A, B", ("A, B - 1", "A, B + 1", "A + 1, B", "A - 1, B", "A + 1, B + 1", "A - 1, B - 1")),
        ("A, B, C", ("A, B - 1, C", "A, B + 1, C", "A + 1, B, C", "A - 1, B, C", "A + 1, B + 1, C")),
    ) for new in news),
    ("{old} counted from 1", "np.arange(*R)", "np.arange(*R) + 1"),
    *(("", old, new) for old, news in (
        ("A[B:]", ("A[B + 1:]",)), ("A[:B]", ("A[:B - 1]", "A[:B + 1]", "A[1:B + 1]")),
        ("A[B:C]", ("A[B:C + 1]", "A[B:C - 1]", "A[B + 1:C]")),
        ("A[-B:]", ("A[:B]",)), ("A[:-B]", ("A[B:]",)), ("A[B:]", ("A[:-B]",)), ("A[:B]", ("A[-B:]",)),
    ) for new in news),
    ("all of {A} where {old} belongs", "A[B:]", "A[:]"), ("all of {A} where {old} belongs", "A[:B]", "A[:]"),
]
POWERS = [
    ("{A} without its power {B}", "A ** B", "A"),
    ("division by {A}, without its square root", "A ** -0.5", "A ** -1.0"),
    ("{B} added outside the square root, not inside", "(A + B) ** -0.5", "1 / (A ** 0.5 + B)"),
    ("{B} added inside the square root, not outside", "np.sqrt(A) + B", "np.sqrt(A + B)"),
    ("{A} not transposed", "A.T", "A"),
    ("the absolute value of {A} where its square belongs", "A ** 2", "np.abs(A)"),
    ("the absolute value of {B} where its square belongs", "A * B * B", "A * np.abs(B)"),
    ("{B} added twice", "A + B", "A + B + B"), ("{B} subtracted twice", "A - B", "A - B - B"),
    *((f"{finite} where -np.inf belongs", "-np.inf", finite) for finite in ("-1e9", "0.0", "1e-9")),
]
TURNED, KEPT = "the sign of {A} turned", ("-np.inf", "-1")  # no mistakes of sign in these
AXES = {0: "the first axis", -1: "the last axis", -2: "the last axis but one", None: "all axes together"}
ROUNDS = {"{} without its first": "list({})[1:]", "{} without its last": "list({})[:-1]",
          "the first of {} alone": "list({})[:1]", "{} in reverse order": "list({})[::-1]",
          "each of {} only once": "dict.fromkeys({})"}


def matches(pattern: Any, node: Any, found: dict[str, Any]) -> bool:
    """Return True if a node has the form of a pattern; `found` gets what A, B and so on stand for."""
    if isinstance(pattern, ast.Name) and len(pattern.id) == 1:
        return isinstance(node, ast.expr) and equal(found.setdefault(pattern.id, node), node)
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, list):
        pairs = zip(pattern, node, strict=False)
        return len(pattern) == len(node) and all(matches(a, b, found) for a, b in pairs)
    if not isinstance(pattern, ast.AST):
        return pattern == node
    if isinstance(pattern, ast.Call) and pattern.args and isinstance(pattern.args[-1], ast.Starred):
        n = len(pattern.args) - 1
        found["R"] = node.args[n:], node.keywords
        node = changed(node, args=node.args[:n], keywords=[])
        pattern = changed(pattern, args=pattern.args[:-1])
    return all(matches(getattr(pattern, field), getattr(node, field), found)
               for field in pattern._fields if field != "ctx")


def filled(pattern: Any, found: dict[str, Any]) -> Any:
    """Return the code of a pattern, with A, B and so on replaced by what they stand for in `found`."""
    if isinstance(pattern, ast.Name) and len(pattern.id) == 1:
        node = found[pattern.id]
        return changed(node, ctx=pattern.ctx) if hasattr(node, "ctx") else node
    if isinstance(pattern, list):
        return [filled(each, found) for each in pattern]
    if not isinstance(pattern, ast.AST):
        return pattern
    new = changed(pattern, **{field: filled(getattr(pattern, field), found) for field in pattern._fields
                              if field not in ("ctx", "args")})
    if isinstance(pattern, ast.Call):
        rest = pattern.args and isinstance(pattern.args[-1], ast.Starred)
        args, keywords = found["R"] if rest else ([], [])
        new.args = [*filled(pattern.args[: len(pattern.args) - bool(rest)], found), *args]
        new.keywords = [*new.keywords, *keywords]
    return new


@functools.cache
def parsed_rules() -> list[dict[type, list[tuple[str, Any, Any]]]]:
    """Return for each table of rules {class of the old code: [(sentence, old pattern, new pattern)]}."""
    found: list[dict[type, list[tuple[str, Any, Any]]]] = [{} for _ in TABLES]
    for rules, table in zip(found, TABLES, strict=True):
        for said, *texts in table:
            old, new = same_kind(*map(parse, texts))
            rules.setdefault(type(old), []).append((said, old, new))
    return found


def same_kind(old: Any, new: Any) -> tuple[Any, Any]:
    """Return two pieces of parsed code as two expressions or, if one is a statement, as two statements."""
    if isinstance(old, list) or isinstance(new, list):
        return as_statements(old)[0], as_statements(new)[0]
    return old, new


def apply_rules(table: int, node: Any) -> Edits:
    """Apply every rule of one of the TABLES to a node."""
    for said, pattern, replacement in parsed_rules()[table].get(type(node), ()):
        found: dict[str, Any] = {}
        if not matches(pattern, node, found) or (said == TURNED and ast.unparse(node) in KEPT):
            continue
        new = filled(replacement, found)
        if hasattr(node, "ctx"):
            new.ctx = node.ctx
        parts = {key: value for key, value in found.items() if key != "R"}
        words = {key: code(value) for key, value in parts.items()}
        words |= {key.lower(): ast.unparse(value) for key, value in parts.items()}
        yield said.format(old=code(node), new=code(new), **words) if said else instead(new, node), new


def results(node: Any) -> Edits:
    """Replace one result in a `return` by another."""
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
        several = node.value.elts
        for i, j in itertools.permutations(range(len(several)), 2):
            words = f"{code(several[j])} returned where {code(several[i])} belongs"
            yield words, ast.Return(changed(node.value, elts=put(several, i, several[j])))


def second_values(node: Any) -> Edits:
    """Leave out the assignment of a new value to a variable that already had one."""
    if isinstance(node, ast.Assign):
        used = (each.id for each in ast.walk(node.value) if isinstance(each, ast.Name))
        if ast.unparse(node.targets[0]) in used:
            yield f"{code(node)} left out", ast.Pass()


def rounds(node: Any) -> Edits:
    """Skip the first or last round of a loop, skip repeated items, go backwards, or end too soon."""
    if isinstance(node, ast.For | ast.comprehension):
        for said, new in ROUNDS.items():
            other = ast.parse(new.format(ast.unparse(node.iter)), mode="eval").body
            yield said.format(code(node.iter)), changed(node, iter=other)
    for i, line in enumerate(node.body if isinstance(node, ast.For) else ()):
        if isinstance(line, ast.If) and not line.orelse:
            soon = put(node.body, i, changed(line, orelse=[ast.Break()]))
            yield f"a loop that ends where {code(line.test)} is not true", changed(node, body=soon)


def keywords(node: Any) -> Edits:
    """Take another axis, exchange True and False, or leave out a keyword of a call."""
    for i, keyword in enumerate(getattr(node, "keywords", ())):
        others = node.keywords[:i] + node.keywords[i + 1 :]
        for axis, said in AXES.items() if keyword.arg == "axis" else ():
            if ast.unparse(keyword.value) != str(axis):
                new = changed(keyword, value=ast.Constant(axis))
                yield f"{code(node)} taken along {said}", changed(node, keywords=put(node.keywords, i, new))
        if keyword.arg in ("dtype", "initial", "key", "kind", "keepdims"):
            yield f"{keyword.arg} missing in {code(node)}", changed(node, keywords=others)
        elif isinstance(getattr(keyword.value, "value", None), bool):
            new = changed(keyword, value=ast.Constant(not keyword.value.value))
            yield instead(new, keyword), changed(node, keywords=put(node.keywords, i, new))


def exchanges(node: Any) -> Edits:
    """Exchange two neighbours among arguments or elements, or leave out an element of a list."""
    field = "args" if isinstance(node, ast.Call) else "elts"
    several = getattr(node, field, [])
    if any(isinstance(each, ast.Slice) or getattr(each, "value", 0) in (..., None) for each in several):
        return  # these are the parts of an index, not elements
    for i, each in enumerate(several if isinstance(node, ast.List) and len(several) > 1 else []):
        yield f"{code(each)} left out of {code(node)}", changed(node, elts=several[:i] + several[i + 1 :])
    for i, (a, b) in enumerate(itertools.pairwise(several)):
        if not equal(a, b):
            order = [*several[:i], b, a, *several[i + 2 :]]
            yield f"{code(a)} and {code(b)} exchanged", changed(node, **{field: order})


def calls(node: Any) -> Edits:
    """Leave out the call of a function, so that its first argument stands alone."""
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func)
    plain = isinstance(node.func, ast.Name) or name.startswith(("np.", "math."))
    alone = len(node.args) == 1 and (name == "sorted" or not node.keywords)
    if plain and alone and name not in ("range", "pairwise", "len", *GUARDS):
        yield f"{name} missing around {code(node.args[0])}", node.args[0]
    if isinstance(node.func, ast.Name) and name in OPS and len(node.args) > 1:
        several = len(OPS[name].outputs) > 1
        new = ast.Tuple([node.args[0]] * len(OPS[name].outputs), ast.Load()) if several else node.args[0]
        yield f"{code(node.args[0])} alone where {code(node)} belongs", new


def numbers(node: Any) -> Edits:
    """Mistype a number: one more or less, a digit lost, ten times too large, 0 or -1 for -100."""
    minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    value = getattr(node.operand if minus else node, "value", None)
    others: list[Any] = []
    if minus:
        others = [-1, 0] if type(value) is int else []
    elif isinstance(node, ast.Constant) and type(value) is int and value > 1:
        others = [value + 1, value - 1]
    elif isinstance(node, ast.Constant) and type(value) is float and 0 < abs(value) < 1e6:
        text = repr(value)
        places = [i for i, each in enumerate(text) if each.isdigit() and len(text) > 4 and "e" not in text]
        others = [value * 10, value / 10, value * 2, value / 2, value * 100]
        others += [float(text[:i] + text[i + 1 :]) for i in places]
    for other in dict.fromkeys(others):
        if other != value:
            old = code(node) if minus else ast.unparse(node)
            yield f"{other:.6g} where {old} belongs", ast.Constant(other)


TABLES = (STATEMENTS, SUMS, PRODUCTS, BRACKETS, SUMS_OF_ARRAYS, CALLS, CASES, EDGES, POWERS)
by_table: list[Any] = [functools.partial(apply_rules, i) for i in range(len(TABLES))]
# The operators that make the likeliest mistakes are first.
OPERATORS = (by_table[0], results, second_values, rounds, *by_table[1:5], keywords, by_table[5], calls,
             by_table[6], exchanges, *by_table[7:], numbers)
