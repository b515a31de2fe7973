"""Write sums: two numbers are added, subtracted or multiplied, with or without the steps in between."""

from collections import Counter
from collections.abc import Iterator
from functools import cache

from tinyllm.config import setting
from tinyllm.world.question import asks, dials

SIGNS = {"plus": "+", "minus": "-", "times": "*"}


def _numbers(document):
    a, sign, b, *_ = document.prompt.split()
    return (sign, a, b) if sign == "-" else (sign, *sorted((a, b)))


def _draw(random, digits, operation):
    a, b = _number(random, digits), _number(random, digits)
    if operation == "minus":
        a, b = max(a, b), min(a, b)
    return {"a": a, "sign": SIGNS[operation], "b": b}


def _number(random, digits):
    """Draw a number with `digits` digits and no leading 0."""
    number = random.integers(10) if digits == 1 else 1 + random.integers(9)
    for _ in range(digits - 1):
        number = 10 * number + random.integers(10)
    return number


def _columns(a, sign, b) -> Iterator[str]:
    """Yield the worked step of each column, the ones first, such as "7+5+1=13": two digits and the carry."""
    carry = 0
    for x, y in zip(reversed(str(a)), reversed(str(b).zfill(len(str(a)))), strict=True):
        here = int(x) + int(y) + carry if sign == "+" else int(x) - int(y) - carry
        yield f"{x}{sign}{y}{sign}{carry}={here}"
        carry = int(not 0 <= here <= 9)


def _products(a, b) -> Iterator[str]:
    """Yield the worked steps of a product: a times each digit of b, the ones first, and the sum so far."""
    total = 0
    for i, digit in enumerate(reversed(str(b))):
        part = int(digit) * 10**i
        yield f"{a}*{part}={a * part}"
        if i:
            yield f"{total}+{a * part}={total + a * part}"
        total += a * part


def _by_columns(a, sign, b):
    """Solve independently: calculate with lists of digits, and carry only at the end."""
    x, y = ([int(digit) for digit in reversed(str(number))] for number in (a, b))
    places = [0] * (len(x) + len(y) + 1)
    for i, u in enumerate(x):
        for j, v in enumerate(y):
            places[i + j] += u * v if sign == "*" else 0
        if sign != "*":
            places[i] += u + y[i] if sign == "+" else u - y[i]
    for i in range(len(places) - 1):
        places[i + 1] += places[i] // 10
        places[i] %= 10
    return "".join(map(str, places)).rstrip("0")[::-1] or "0"


def _chance(dials):
    """Return the score of the best constant answer; 0 for products of numbers of 3 digits or more."""
    n = 10 if dials.digits == 1 else 9 * 10 ** (dials.digits - 1)
    if dials.operation == "times":
        return _commonest_product(dials.digits) if dials.digits < 3 else 0.0
    return max(1 / n, 2 * (n - 1) / n**2) if dials.operation == "minus" else 1 / n


@cache
def _commonest_product(digits):
    numbers = range(10) if digits == 1 else range(10, 100)
    return max(Counter(a * b for a in numbers for b in numbers).values()) / len(numbers) ** 2


@asks("{a:int} {sign} {b:int} =", slots={"sign": "+-*"},
      group="reasoning", chance=_chance, draw=_draw, second=_by_columns,
      working=lambda a, sign, b: " ".join(_products(a, b) if sign == "*" else _columns(a, sign, b)),
      labels=lambda a, sign, b: {"a": a, "b": b, "sign": sign},
      splits={"numbers": _numbers},
      Dials=dials(digits=setting(3, help="how many digits both numbers have", min=1, max=12),
                  operation=setting("plus", help="what is done with them", choices=tuple(SIGNS)),
                  steps=setting(False, help="work it out digit by digit before the answer")))
def arithmetic(a: int, sign: str, b: int) -> str:
    """Add, subtract or multiply two numbers, with or without the steps in between."""
    return str({"+": a + b, "-": a - b, "*": a * b}[sign])
