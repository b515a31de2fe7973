"""Write sums of two numbers, with or without the steps in between."""

from tinyllm.config import setting
from tinyllm.world.question import asks, dials


def _numbers(document):
    a, sign, b, *_ = document.prompt.split()
    return sign, *sorted((a, b))


def _number(random, digits):
    """Draw a number with `digits` digits and no leading 0."""
    number = random.integers(10) if digits == 1 else 1 + random.integers(9)
    for _ in range(digits - 1):
        number = 10 * number + random.integers(10)
    return number


def _columns(a, b):
    """Return the worked step of each column, the ones first, such as "7+5+1=13": two digits and the carry."""
    carry, steps = 0, []
    for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True):
        here = int(x) + int(y) + carry
        steps.append(f"{x}+{y}+{carry}={here}")
        carry = here // 10
    return " ".join(steps)


def _by_columns(a, b):
    """Solve independently: add lists of digits, and carry only at the end."""
    places = [int(x) + int(y) for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True)] + [0]
    for i in range(len(places) - 1):
        places[i + 1] += places[i] // 10
        places[i] %= 10
    return "".join(map(str, places)).rstrip("0")[::-1] or "0"


@asks("{a:int} + {b:int} =", group="reasoning",
      chance=lambda dials: 1 / 10 if dials.digits == 1 else 1 / (9 * 10 ** (dials.digits - 1)),
      draw=lambda random, digits: {name: _number(random, digits) for name in "ab"},
      second=_by_columns, working=_columns, labels=lambda a, b: {"a": a, "b": b, "sign": "+"},
      splits={"numbers": _numbers},
      Dials=dials(digits=setting(3, help="how many digits both numbers have", min=1, max=12),
                  steps=setting(False, help="work it out digit by digit before the answer")))
def arithmetic(a: int, b: int) -> str:
    """Add two numbers, with or without the steps in between."""
    return str(a + b)
