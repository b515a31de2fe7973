"""Write Python expressions and their values, with or without the steps in between."""

import re
from typing import Any

from tinyllm.config import setting
from tinyllm.world.forms import Shape
from tinyllm.world.interpreter import evaluate
from tinyllm.world.names import ANIMALS, THINGS
from tinyllm.world.question import asks, dials

WORDS = [word for word in (*ANIMALS, *THINGS) if len(word) < 7]
TYPES = (int, int, str, list, bool)  # of which expressions are drawn
LONGEST, LARGEST = 14, 200  # of texts and lists, of numbers
# type -> the ways to make it: the source of an operation, the types of what it is made of, its meaning
OPERATIONS: dict[type, list] = {
    int: [
        ("({} + {})", (int, int), lambda x, y: x + y), ("({} - {})", (int, int), lambda x, y: x - y),
        ("({} * {})", (int, int), lambda x, y: x * y), ("({} % {})", (int, 5), lambda x, y: x - x // y * y),
        ("len({})", (str,), lambda x: sum(1 for _ in x)), ("sum({})", (list,), lambda x: x[0] + sum(x[1:])),
        ("max({})", (list,), lambda x: sorted(x)[-1]), ("min({})", (list,), lambda x: -max(-n for n in x)),
        ("{}[0]", (list,), lambda x: next(iter(x))),
    ],
    str: [
        ("({} + {})", (str, str), lambda x, y: "".join((x, y))), ("({} * {})", (str, 3), lambda x, y: x * y),
        ("{}.upper()", (str,), lambda x: x.swapcase().upper()), ("{}[0]", (str,), lambda x: x[:1]),
        ("{}[::-1]", (str,), lambda x: "".join(reversed(x))),
    ],
    list: [
        ("sorted({})", (list,), lambda x: sorted(x)), ("({} + {})", (list, list), lambda x, y: [*x, *y]),
        ("{}[::-1]", (list,), lambda x: list(reversed(x))), ("{}[:2]", (list,), lambda x: x[:2]),
    ],
    bool: [
        ("({} < {})", (int, int), lambda x, y: y > x),
        ("({} in {})", (int, list), lambda x, y: y.count(x) > 0),
        ("({} > {})", (int, int), lambda x, y: y < x), ("({} <= {})", (int, int), lambda x, y: not y < x),
    ],
}
_LITERAL = r'(?:-?\d+|"\w+"|\[-?\d+(?:, -?\d+)*\]|True|False)'
_READY = re.compile(  # an operation whose parts are all literals
    rf"\({_LITERAL} (?:[-+*%<>]|<=|in) {_LITERAL}\)|(?:len|sum|max|min|sorted)\({_LITERAL}\)"
    rf"|{_LITERAL}(?:\.upper\(\)|\[(?:0|::-1|:2)\])"
)


def _draw(random, kind, size):
    """Draw an expression of a type with `size` operations; an int `kind` means a number from 2 to `kind`."""
    if isinstance(kind, int):
        kind = 2 + random.integers(kind - 1)
        return str(kind), kind
    if size == 0:
        word = random.choice(WORDS) if kind is str else random.integers(10)
        value = [random.integers(10) for _ in range(2 + random.integers(2))] if kind is list else word
        return _literal(value), value
    while True:
        form, parts, function = random.choice(OPERATIONS[kind])
        left = random.integers(size) if len(parts) == 2 and isinstance(parts[1], type) else size - 1
        drawn = [_draw(random, part, n) for part, n in zip(parts, (left, size - 1 - left), strict=False)]
        value: Any = function(*(part for _, part in drawn))
        if -LARGEST <= value <= LARGEST if isinstance(value, int) else len(value) <= LONGEST:
            return form.format(*(source for source, _ in drawn)), value


def _literal(value):
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _steps(source):
    """Evaluate an expression operation by operation; return the source after each operation."""
    steps: list[str] = []
    while found := _READY.search(source):
        source = source[: found.start()] + _literal(evaluate(found[0])) + source[found.end() :]
        steps.append(source)
    return steps


@asks("{source} ==", slots={"source": Shape(r"(?:(?! == ).)+", str, str)}, group="programs", marker="== ",
      draw=lambda world, random, dials: {"source": _draw(random, random.choice(TYPES), dials.size)[0]},
      second=lambda source: _literal(evaluate(source)),
      working=lambda source: " == ".join(_steps(source)[:-1]),
      labels=lambda source: {"expression": source},
      chance=lambda dials: 0.11,  # of True or False, whichever is more frequent; measured
      splits={"expression": lambda d: d.prompt, "shape": lambda d: re.sub(r'\d+|"\w*"', "_", d.prompt)},
      Dials=dials(size=setting(2, help="operations in an expression", min=1, max=8),
                  steps=setting(False, help="replace one operation after another by its value")))
def expression(source: str) -> str:
    """Give the value of a Python expression; the whole line is an equation that Python finds true."""
    return _steps(source)[-1]
