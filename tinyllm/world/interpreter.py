"""Run programs in a small, safe part of Python: functions of integers, texts and lists.

The interpreter walks over the syntax tree and refuses every node that its three `match` statements do not
handle, so a program can reach nothing else. Steps, lengths, numbers and nested calls are bounded. Lists must
not hold lists, because a short program could build one that takes for ever to compare.
"""

import ast
import operator
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from tinyllm.errors import UserError

MAX_SOURCE, MAX_LENGTH, MAX_INT, MAX_CALLS = 4_000, 1_000, 10**12, 20
OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.In: lambda x, y: x in y,
    ast.NotIn: lambda x, y: x not in y,
    ast.Not: operator.not_, ast.USub: operator.neg, ast.UAdd: operator.pos,
}
METHODS = {
    str: {"upper", "lower", "strip", "split", "join", "count", "startswith", "endswith", "replace"},
    list: {"append", "pop", "insert", "extend", "remove", "reverse", "count", "index"},
}


def _range(*bounds):
    numbers = range(*bounds)
    if numbers[MAX_LENGTH:]:
        raise UserError(f"a range is longer than {MAX_LENGTH:,}")
    return list(numbers)


FUNCTIONS = {
    "len": len, "sum": sum, "min": min, "max": max, "abs": abs, "int": int, "str": str, "bool": bool,
    "any": any, "all": all, "range": _range, "list": list, "sorted": sorted,
}


def run(source: str, name: str, arguments: Sequence, budget: int = 10_000) -> Any:
    """Call a function of a program and return its result; values are numbers, texts, and lists of these.

    budget: the most steps. Raises UserError for an error in the program, or for anything unsafe.
    """
    machine = _Machine(budget)
    with _errors():
        for node in _parse(source, "exec").body:
            if not isinstance(node, ast.FunctionDef):
                raise UserError(f"line {node.lineno}: {type(node).__name__} is not allowed outside functions")
            machine.functions[node.name] = node
        return machine.call(name, [list(x) if isinstance(x, list) else x for x in arguments])


def evaluate(expression: str, budget: int = 1_000) -> Any:
    """Compute the value of one expression, with numbers, texts and lists as in `run`."""
    with _errors():
        return _Machine(budget).value(_parse(expression.strip(), "eval").body, {})


def _parse(source, mode):
    if len(source) > MAX_SOURCE:
        raise UserError(f"the program has {len(source):,} characters, at most {MAX_SOURCE:,} are allowed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source, mode=mode)


@contextmanager
def _errors():
    """Turn an error that Python raises about a program into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except (RecursionError, MemoryError):
        raise UserError("the program is nested too deeply") from None
    except (SyntaxError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise UserError(f"{type(error).__name__}: {error}".replace("\n", " ")) from None


class _Machine:
    """The state of a run: functions, and steps left; `names` is {variable: value} in the running function."""

    def __init__(self, budget):
        self.functions, self.budget, self.steps, self.depth = {}, budget, budget, 0

    def spend(self, *values):
        """Take a step, and one for every part of these values."""
        self.steps -= 1 + sum(len(value) for value in values if isinstance(value, str | list))
        if self.steps < 0:
            raise UserError(f"the program takes more than {self.budget:,} steps")

    def call(self, name, arguments):
        """Call a function of the program, and return its result."""
        if name not in self.functions:
            raise UserError(f"there is no function {name}; only {', '.join([*FUNCTIONS, *self.functions])}")
        node, given = self.functions[name], self.functions[name].args
        odd = node.decorator_list or given.defaults or given.vararg or given.kwarg or given.kwonlyargs
        if self.depth == MAX_CALLS or odd or given.posonlyargs or len(given.args) != len(arguments):
            raise UserError(f"cannot call {name}: it takes plain arguments, and calls nest up to {MAX_CALLS}")
        self.depth += 1
        result = self.block(node.body, {a.arg: value for a, value in zip(given.args, arguments, strict=True)})
        self.depth -= 1
        return result[0] if isinstance(result, tuple) else None

    def block(self, body, names):
        """Run statements -> None to go on, ast.Break, ast.Continue, or (value,) to return."""
        for node in body:
            self.spend()
            if result := self.statement(node, names):
                return result
        return None

    def statement(self, node, names):  # noqa: C901, PLR0912  a case for each statement that is allowed
        match node:
            case ast.Pass():
                pass
            case ast.Break() | ast.Continue():
                return type(node)
            case ast.Return(value):
                return (value and self.value(value, names),)
            case ast.Expr(value):
                self.value(value, names)
            case ast.Assign([target], value):
                self.store(target, self.value(value, names), names)
            case ast.AugAssign(target, op, value):
                old = self.value(target, names)
                if isinstance(old, list):
                    self.refuse(node)  # because it would change the list under its other names, too
                self.store(target, self.good(self.apply(op, old, self.value(value, names))), names)
            case ast.If(test, body, other):
                return self.block(body if self.value(test, names) else other, names)
            case ast.While(test, body, []):
                while self.value(test, names):
                    if (result := self.block(body, names)) not in (None, ast.Continue):
                        return None if result is ast.Break else result
            case ast.For(target, items, body, []):
                for item in self.value(items, names):
                    self.store(target, item, names)
                    if (result := self.block(body, names)) not in (None, ast.Continue):
                        return None if result is ast.Break else result
            case _:
                self.refuse(node)
        return None

    def store(self, target, value, names):
        match target:
            case ast.Name(name):
                names[name] = value
            case ast.Subscript(owner, place) if not isinstance(place, ast.Slice):
                self.value(owner, names)[self.value(place, names)] = self.item(value)
            case _:
                self.refuse(target)

    def value(self, node, names):
        """Return the value of an expression, if it is of a known type and size."""
        self.spend()
        return self.good(self.expression(node, names))

    def expression(self, node, names):  # noqa: C901, PLR0912  a case for each expression that is allowed
        match node:
            case ast.Constant(value):
                return value
            case ast.Name(name) if name in names:
                return names[name]
            case ast.Name(name):
                raise UserError(f"line {node.lineno}: the name {name} has no value")
            case ast.BinOp(left, op, right):
                return self.apply(op, self.value(left, names), self.value(right, names))
            case ast.UnaryOp(op, operand):
                return self.apply(op, self.value(operand, names))
            case ast.BoolOp(op, parts):
                for part in parts:
                    value = self.value(part, names)
                    if bool(value) == isinstance(op, ast.Or):
                        break
                return value
            case ast.Compare(left, ops, others):
                x = self.value(left, names)
                for op, other in zip(ops, others, strict=True):
                    y = self.value(other, names)
                    if not self.apply(op, x, y):
                        return False
                    x = y
                return True
            case ast.IfExp(test, body, other):
                return self.value(body if self.value(test, names) else other, names)
            case ast.List(parts):
                return [self.item(self.value(part, names)) for part in parts]
            case ast.ListComp(part, [loop]) | ast.GeneratorExp(part, [loop]):
                return list(self.comprehend(part, loop, dict(names)))
            case ast.Subscript(owner, ast.Slice(lower, upper, step)):
                bounds = [part and self.value(part, names) for part in (lower, upper, step)]
                return self.value(owner, names)[slice(*bounds)]
            case ast.Subscript(owner, place):
                return self.value(owner, names)[self.value(place, names)]
            case ast.Call(function, arguments, []):
                return self.invoke(function, [self.value(x, names) for x in arguments], names)
        self.refuse(node)

    def comprehend(self, part, loop, names):
        for item in self.value(loop.iter, names):
            self.store(loop.target, item, names)
            if all(self.value(test, names) for test in loop.ifs):
                yield self.item(self.value(part, names))

    def apply(self, op, *values):
        """Apply an operator to one value or two."""
        self.spend(*values)
        numbers = all(isinstance(value, int) for value in values)
        if type(op) not in OPERATORS or (isinstance(op, ast.Mod) and not numbers):
            raise UserError(f"the operator {type(op).__name__} is not allowed here")
        if isinstance(op, ast.Mult) and not numbers:
            size = max((len(value) for value in values if isinstance(value, str | list)), default=0)
            if size * max((value for value in values if isinstance(value, int)), default=0) > MAX_LENGTH:
                raise UserError(f"a text or a list is longer than {MAX_LENGTH:,}")
        return OPERATORS[type(op)](*values)

    def invoke(self, function, arguments, names):
        """Call a method, a function of the program, or one of FUNCTIONS."""
        self.spend(*arguments)
        match function:
            case ast.Attribute(owner, method):
                owner = self.value(owner, names)
                if method not in METHODS.get(type(owner), ()):
                    self.refuse(function)
                if method in ("append", "insert"):
                    self.item(arguments[-1] if arguments else None)
                self.spend(owner)
                return getattr(owner, method)(*arguments)  # a list that grows is checked when it is read
            case ast.Name(name) if name in FUNCTIONS and name not in self.functions:
                return FUNCTIONS[name](*arguments)
            case ast.Name(name):
                return self.call(name, arguments)
        self.refuse(function)

    def good(self, value):
        """Return a value if it is of a known type and not too large."""
        if isinstance(value, str | list):
            if len(value) > MAX_LENGTH:
                raise UserError(f"a text or a list is longer than {MAX_LENGTH:,}")
        elif isinstance(value, int):
            if abs(value) > MAX_INT:
                raise UserError(f"a number is beyond {MAX_INT:,}")
        elif value is not None:
            raise UserError(f"a value of type {type(value).__name__} is not allowed")
        return value

    def item(self, value):
        """Return a value if a list may hold it."""
        if isinstance(value, list):
            raise UserError("a list holds only numbers and texts")
        return value

    def refuse(self, node):
        raise UserError(f"line {getattr(node, 'lineno', 1)}: {type(node).__name__} is not allowed")
