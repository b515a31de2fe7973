"""Write nested brackets to evaluate modulo 11, a serial task: each step needs the result before it."""

import re

from tinyllm.config import setting
from tinyllm.world.question import asks, dials

MODULUS = 11
_INNER = re.compile(r"\( (10|\d) ([-+*]) (10|\d) \)|^(10|\d) ([-+*]) (10|\d)$")


def _draw(world, random, dials):
    """Draw an expression: begin with the answer, and `depth` times replace a number by an equal operation."""
    words = [str(random.integers(MODULUS))]
    for done in range(dials.depth):
        at = random.choice([i for i, word in enumerate(words) if word.isdecimal()])
        value, sign, a = int(words[at]), random.choice("+-*"), random.integers(MODULUS)
        if sign == "*":
            a = a or 1
            b = value * pow(a, -1, MODULUS)
        else:
            b = value - a if sign == "+" else a - value
        new = [str(a), sign, str(b % MODULUS)]
        words[at : at + 1] = ["(", *new, ")"] if done else new
    return {"expression": " ".join(words)}


def _rows(expression):
    """Return an expression before and after each operation. Raises ValueError if it is malformed."""
    rows = [expression]
    while (row := _INNER.sub(_value, rows[-1], count=1)) != rows[-1]:
        rows.append(row)
    if not rows[-1].isdecimal() or not 1 < len(rows) < 8 or expression.count("(") != len(rows) - 2:
        raise ValueError(f"no expression: {expression}")
    return rows


def _value(found):
    """Return the value modulo 11 of a matched operation: an innermost bracket, or the whole expression."""
    a, sign, b = (part for part in found.groups() if part is not None)
    return str({"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] % MODULUS)


def _on_a_stack(expression):
    """Solve independently: evaluate on a stack in whole numbers, and reduce modulo 11 only at the end."""
    values: list[int] = []
    signs: list[str] = []
    for word in [*expression.split(), ")"]:
        if word in ("+", "-", "*"):
            signs.append(word)
        elif word == ")":
            b, a = values.pop(), values.pop()
            values.append({"+": a + b, "-": a - b, "*": a * b}[signs.pop()])
        elif word != "(":
            values.append(int(word))
    return str(values[0] % MODULUS)


@asks(f"mod {MODULUS} : {{expression}} =", group="reasoning", marker="= ", options=MODULUS,
      draw=_draw, second=_on_a_stack, working=lambda expression: " = ".join(_rows(expression)[1:-1]),
      labels=lambda expression: {"expression": expression, "depth": len(_rows(expression)) - 1},
      splits={"text": lambda d: d.prompt},
      Dials=dials(depth=setting(4, help="how many operations the expression has", min=1, max=6),
                  steps=setting(False, help="write the expression again after each operation")))
def modular(expression: str) -> str:
    """Compute nested brackets modulo 11; all eleven answers are equally likely."""
    return _rows(expression)[-1]
