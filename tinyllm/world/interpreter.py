"""Run programs in a small, safe part of Python: functions of integers, texts and lists.

The interpreter walks over the syntax tree and refuses every node that its three `match` statements do not
handle, so a program can reach nothing else. Steps, lengths and numbers are bounded. Lists must not hold
lists, because a short program could build one that takes for ever to compare.
"""

import ast
import operator
import warnings
from collections.abc import Sequence
from typing import Any

from tinyllm.errors import UserError

MAX_SOURCE, MAX_LENGTH, MAX_INT = 4_000, 1_000, 10**12
OPERATORS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.In: lambda x, y: x in y,
    ast.NotIn: lambda x, y: x not in y, ast.Not: operator.not_, ast.USub: operator.neg,
}
METHODS = {
    str: {"upper", "lower", "strip", "split", "join", "count", "startswith", "endswith", "replace"},
    list: {"append", "count", "index"},
}


def _range(*bounds):
    numbers = range(*bounds)
    if numbers[MAX_LENGTH:]:
        raise UserError(f"a range is longer than {MAX_LENGTH:,}")
    return list(numbers)


FUNCTIONS = {
    "len": len, "sum": sum, "min": min, "max": max, "abs": abs, "int": int, "str": str, "any": any,
    "all": all, "range": _range, "sorted": sorted,
}


def run(source: str, name: str = "", arguments: Sequence = (), budget: int = 10_000) -> Any:
    """Call a function of a program and return its result; values are numbers, texts, and lists of these.

    Without a name, run the program's lines, and return the value of the last one, which may call functions.
    budget: the largest number of steps. Raises UserError for an error in the program, or for anything unsafe.
    """
    try:
        machine, body = _Machine(budget), _parse(source.strip()).body
        machine.functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        lines = [node for node in body if not isinstance(node, ast.FunctionDef)]
        if name and lines:
            what = f"line {lines[0].lineno}: {type(lines[0]).__name__}"
            raise UserError(f"{what} is not allowed outside functions")
        if name and name not in machine.functions:
            raise UserError(f"there is no function {name}")
        if name:
            return machine.call(name, [list(x) if isinstance(x, list) else x for x in arguments])
        if not lines or not isinstance(lines[-1], ast.Expr):
            raise UserError("the last line must be the result of the program, such as a name")
        returned = machine.block(lines[:-1])
        return returned[0] if returned else machine.value(lines[-1].value)
    except UserError:
        raise
    except (RecursionError, MemoryError):
        raise UserError("the program is nested too deeply") from None
    except (SyntaxError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise UserError(f"{type(error).__name__}: {error}".replace("\n", " ")) from None


def _parse(source):
    if len(source) > MAX_SOURCE:
        raise UserError(f"the program has {len(source):,} characters, at most {MAX_SOURCE:,} are allowed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


class _Machine:
    """The state of a run: {variable: value}, {name: function}, and how many steps are left."""

    def __init__(self, budget):
        self.names, self.functions, self.budget, self.steps = {}, {}, budget, budget

    def spend(self, *values):
        """Count one step, and one more for every item or character of these values."""
        self.steps -= 1 + sum(len(value) for value in values if isinstance(value, str | list))
        if self.steps < 0:
            raise UserError(f"the program takes more than {self.budget:,} steps")

    def call(self, name, arguments):
        """Run a function with these arguments, and return its result; it sees no names from outside."""
        function, outside = self.functions[name], self.names
        names = [argument.arg for argument in function.args.args]
        plain = ast.unparse(function.args) == ", ".join(names) and not function.decorator_list
        if not plain or len(names) != len(arguments):
            raise UserError(f"{function.name} must take {len(arguments)} plain arguments, without types")
        self.names = dict(zip(names, arguments, strict=True))
        returned = self.block(function.body)
        self.names = outside
        return returned[0] if returned else None

    def block(self, body):
        """Run statements; return (value,) if one of them is a `return`, else None."""
        for node in body:
            self.spend()
            if returned := self.statement(node):
                return returned
        return None

    def statement(self, node):
        match node:
            case ast.Return(value):
                return (value and self.value(value),)
            case ast.Expr(value):
                self.value(value)
            case ast.Assign([ast.Name(name)], value):
                self.names[name] = self.value(value)
            case ast.AugAssign(ast.Name(name) as target, op, value):
                old = self.value(target)
                if isinstance(old, list):
                    self.refuse(node)  # in Python it would change the list under its other names, too
                self.names[name] = self.good(self.apply(op, old, self.value(value)))
            case ast.If(test, body, other):
                return self.block(body if self.value(test) else other)
            case ast.For(ast.Name(name), items, body, []):
                for item in self.value(items):
                    self.names[name] = item
                    if returned := self.block(body):
                        return returned
            case _:
                self.refuse(node)
        return None

    def value(self, node):
        """Return the value of an expression, if it is of a known type and size."""
        self.spend()
        return self.good(self.expression(node))

    def expression(self, node):  # noqa: C901, PLR0912  a case for each expression that is allowed
        match node:
            case ast.Constant(value):
                return value
            case ast.Name(name) if name in self.names:
                return self.names[name]
            case ast.Name(name):
                raise UserError(f"line {node.lineno}: the name {name} has no value")
            case ast.BinOp(left, op, right):
                return self.apply(op, self.value(left), self.value(right))
            case ast.UnaryOp(op, operand):
                return self.apply(op, self.value(operand))
            case ast.BoolOp(op, parts):
                for part in parts:
                    value = self.value(part)
                    if bool(value) == isinstance(op, ast.Or):
                        break
                return value
            case ast.Compare(left, ops, others):
                x = self.value(left)
                for op, other in zip(ops, others, strict=True):
                    y = self.value(other)
                    if not self.apply(op, x, y):
                        return False
                    x = y
                return True
            case ast.List(parts):
                return [self.item(self.value(part)) for part in parts]
            case ast.ListComp(part, [ast.comprehension(ast.Name(name), items, tests, 0)]):
                return self.comprehend(part, name, items, tests)
            case ast.Subscript(owner, ast.Slice(lower, upper, step)):
                bounds = [part and self.value(part) for part in (lower, upper, step)]
                return self.value(owner)[slice(*bounds)]
            case ast.Subscript(owner, place):
                return self.value(owner)[self.value(place)]
            case ast.Call(function, arguments, []):
                return self.invoke(function, [self.value(x) for x in arguments])
        self.refuse(node)

    def comprehend(self, part, name, items, tests):
        """Return the list of a comprehension; its variable is not visible outside."""
        outside, found = dict(self.names), []
        for item in self.value(items):
            self.names[name] = item
            if all(self.value(test) for test in tests):
                found.append(self.item(self.value(part)))
        self.names = outside
        return found

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

    def invoke(self, function, arguments):
        """Call a function of the program, a method, or one of FUNCTIONS."""
        self.spend(*arguments)
        match function:
            case ast.Name(name) if name in self.functions:
                return self.call(name, arguments)
            case ast.Name(name) if name in FUNCTIONS:
                return FUNCTIONS[name](*arguments)
            case ast.Attribute(owner, method):
                owner = self.value(owner)
                self.spend(owner)
                if method in METHODS.get(type(owner), ()):
                    if method == "append":
                        arguments = [self.item(argument) for argument in arguments]
                    return getattr(owner, method)(*arguments)  # a list that grows is checked when it is read
        self.refuse(function)

    def good(self, value):
        """Return a value; raise UserError if its type is not allowed, or if it is too large."""
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
        """Return a value; raise UserError if it is a list, which no list may hold."""
        if isinstance(value, list):
            raise UserError("a list holds only numbers and texts")
        return value

    def refuse(self, node):
        raise UserError(f"line {getattr(node, 'lineno', 1)}: {type(node).__name__} is not allowed")
