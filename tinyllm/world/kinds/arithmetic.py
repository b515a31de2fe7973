"""Sums: two numbers are added, subtracted or multiplied, with and without worked steps."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

SIGNS = {"plus": "+", "minus": "-", "times": "*"}
_TEXT = re.compile(r"([0-9]{1,12}) ([-+*]) ([0-9]{1,12})( backwards)? = ([^\n]+)")


def _numbers(document):
    a, sign, b, *_ = document.prompt.split()
    return (sign, a, b) if sign == "-" else (sign, *sorted((a, b)))


class Arithmetic(Kind):
    """Add, subtract or multiply two numbers, with or without the steps in between."""

    group = "reasoning"
    marker = "answer: "
    splits = {"numbers": _numbers}

    @dataclass(frozen=True)
    class Dials:
        digits: int = setting(3, help="how many digits both numbers have", min=1, max=12)
        operation: str = setting("plus", help="what is done with them", choices=tuple(SIGNS))
        steps: bool = setting(False, help="work it out digit by digit before the answer")
        backwards: bool = setting(False, help="write the answer from its last digit to its first")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        a, b = _number(random, dials.digits), _number(random, dials.digits)
        if dials.operation == "minus":
            a, b = max(a, b), min(a, b)
        return self._document(a, SIGNS[dials.operation], b, dials.backwards, dials.steps)

    def _document(self, a, sign, b, backwards, steps):
        result = str({"+": a + b, "-": a - b, "*": a * b}[sign])
        way = " backwards" if backwards else ""
        work = " ".join(_products(a, b) if sign == "*" else _columns(a, sign, b)) + " " if steps else ""
        truth = result[::-1] if backwards else result
        return self.asked(f"{a} {sign} {b}{way} =", truth, {"a": a, "b": b, "sign": sign}, work)

    def read(self, world: World, text: str) -> Document | None:
        found = _TEXT.fullmatch(text)
        if not found or len(found[1]) != len(found[3]) or (found[2] == "-" and int(found[1]) < int(found[3])):
            return None
        a, b, steps = int(found[1]), int(found[3]), self.marker in found[5]
        document = self._document(a, found[2], b, bool(found[4]), steps)
        return document if document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Calculate with lists of digits, as at school, all carries at the end."""
        a, sign, b, *way = document.prompt.split()
        x, y = ([int(digit) for digit in reversed(number)] for number in (a, b))
        places = [0] * (len(x) + len(y) + 1)
        for i, u in enumerate(x):
            for j, v in enumerate(y):
                places[i + j] += u * v if sign == "*" else 0
            if sign != "*":
                places[i] += u + y[i] if sign == "+" else u - y[i]
        for i in range(len(places) - 1):
            places[i + 1] += places[i] // 10
            places[i] %= 10
        digits = "".join(map(str, places)).rstrip("0") or "0"
        return digits if "backwards" in way else digits[::-1]

    def chance(self, dials: Dials) -> float:
        """Return the share of the most frequent answer; 0 for products of numbers of 3 digits or more."""
        n = 10 if dials.digits == 1 else 9 * 10 ** (dials.digits - 1)
        if dials.operation == "times":
            return _commonest_product(dials.digits) if dials.digits < 3 else 0.0
        return max(1 / n, 2 * (n - 1) / n**2) if dials.operation == "minus" else 1 / n


def _number(random, digits):
    """Draw a number of so many digits; the first is not 0, unless it is the only one."""
    number = random.integers(10) if digits == 1 else 1 + random.integers(9)
    for _ in range(digits - 1):
        number = 10 * number + random.integers(10)
    return number


def _columns(a, sign, b) -> Iterator[str]:
    """Yield one calculation for each column, from the ones on: digit, digit and what is carried."""
    carry = 0
    for x, y in zip(reversed(str(a)), reversed(str(b).zfill(len(str(a)))), strict=True):
        here = int(x) + int(y) + carry if sign == "+" else int(x) - int(y) - carry
        yield f"{x}{sign}{y}{sign}{carry}={here}"
        carry = int(not 0 <= here <= 9)


def _products(a, b) -> Iterator[str]:
    """Yield the product with each digit, from the ones on, and the sum so far."""
    total = 0
    for i, digit in enumerate(reversed(str(b))):
        part = int(digit) * 10**i
        yield f"{a}*{part}={a * part}"
        if i:
            yield f"{total}+{a * part}={total + a * part}"
        total += a * part


@cache
def _commonest_product(digits):
    numbers = range(10) if digits == 1 else range(10, 100)
    return max(Counter(a * b for a in numbers for b in numbers).values()) / len(numbers) ** 2
