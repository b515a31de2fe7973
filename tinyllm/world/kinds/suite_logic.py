"""Write small tasks about steps: a walk on a grid, and the truth of a logical statement."""

from tinyllm.world.interpreter import run
from tinyllm.world.question import asks

WINDS = ("north", "east", "south", "west")
STEPS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}


def _sums(legs):
    far = {wind: sum(int(leg.split()[1]) for leg in legs if leg.startswith(wind)) for wind in WINDS}
    return f"{far['east'] - far['west']} {far['north'] - far['south']}"


@asks("From the well at 0 0, walk {legs:list}. You are at", "The goat goes {legs:list} from 0 0 to",
      size=(4, "how many legs the walk has", 1, 12), second=_sums,
      draw=lambda random, size: {"legs": [f"{random.choice(WINDS)} {1 + random.integers(4)}"
                                          for _ in range(size)]},
      working=lambda truth, legs: ", ".join(truth(legs[: i + 1]) for i in range(len(legs))))
def walk(legs: list[str]) -> str:
    """Walk on a grid from 0 0 and say where the walk ends: east and north count up, west and south down."""
    x = y = 0
    for leg in legs:
        wind, n = leg.split()
        x, y = x + STEPS[wind][0] * int(n), y + STEPS[wind][1] * int(n)
    return f"{x} {y}"


VALUES = ("false", "true")
SIMPLER = [("not true", "false"), ("not false", "true")] + [
    (f"({x} {word} {y})", "true" if (word == "or") + (x == "true") + (y == "true") > 1 else "false")
    for x in VALUES[::-1] for word in ("and", "or") for y in VALUES[::-1]
]


def _statement(random, value, size):
    """Draw a statement with `size` parts whose truth is `value`: 0 (false) or 1 (true)."""
    if size == 1:
        return VALUES[value] if random.integers(2) else ("not true", "not false")[value]
    left = 1 + random.integers(size - 1)
    word, ruling = (("and", 0), ("or", 1))[random.integers(2)]
    x = y = value
    if value == ruling and (n := random.integers(3)):  # one side is enough, so the other may differ
        x, y = (value, 1 - value) if n == 1 else (1 - value, value)
    return f"({_statement(random, x, left)} {word} {_statement(random, y, size - left)})"


def _rounds(statement):
    """Simplify a statement in rounds to "true" or "false"; return the statement after each round."""
    rounds, simpler = [], statement
    while simpler not in VALUES:
        for left, right in SIMPLER:
            simpler = simpler.replace(left, right)
        rounds.append(simpler)
    return rounds or [statement]


@asks("The judge says: {statement}. So it is", "Is this true or false: {statement}?",
      size=(3, "how many words true and false are in it", 1, 10), choices=VALUES,
      draw=lambda random, size: {"statement": _statement(random, random.integers(2), size)},
      second=lambda statement: VALUES[run(statement.replace("true", "1").replace("false", "0")) > 0],
      working=lambda statement: ", ".join(_rounds(statement)))
def logic(statement: str) -> str:
    """Say if a logical statement is true or false."""
    return _rounds(statement)[-1]
