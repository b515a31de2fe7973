"""Small tasks about steps that follow one another: walks, turns, logic."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world.interpreter import evaluate
from tinyllm.world.task import Fields, Task, sized
from tinyllm.world.world import World

WINDS = ("north", "east", "south", "west")
STEPS = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
TURNS = {"left": 3, "right": 1, "round": 2}


class Walk(Task):
    """Follow steps on a grid from the well: north and east count up, south and west down."""

    Dials = sized(4, "how many legs the walk has", 1, 12, steps=True)
    asks = ("From the well at 0 0, walk {legs:list}. You are at", "The goat goes {legs:list} from 0 0 to")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"legs": [f"{random.choice(WINDS)} {1 + random.integers(4)}" for _ in range(dials.size)]}

    def truth(self, legs: list[str]) -> str:
        x = y = 0
        for leg in legs:
            wind, n = leg.split()
            x, y = x + STEPS[wind][0] * int(n), y + STEPS[wind][1] * int(n)
        return f"{x} {y}"

    def second(self, legs: list[str]) -> str:
        far = {wind: sum(int(leg.split()[1]) for leg in legs if leg.startswith(wind)) for wind in WINDS}
        return f"{far['east'] - far['west']} {far['north'] - far['south']}"

    def working(self, legs: list[str]) -> str:
        return ", ".join(self.truth(legs[: i + 1]) for i in range(len(legs)))


class Turns(Task):
    """Say where one looks after some turns."""

    Dials = sized(4, "how many turns there are", 1, 24, steps=True)
    choices = WINDS
    asks = ("The weathercock looks {wind}, then turns {turns:list}. It looks",
            "Look {wind}. Turn {turns:list}. You face")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        turns = [random.choice(list(TURNS)) for _ in range(dials.size)]
        return {"wind": random.choice(WINDS), "turns": turns}

    def truth(self, wind: str, turns: list[str]) -> str:
        return WINDS[(WINDS.index(wind) + sum(TURNS[turn] for turn in turns)) % 4]

    def second(self, wind: str, turns: list[str]) -> str:
        x, y = STEPS[wind]
        for turn in turns:
            x, y = {"left": (-y, x), "right": (y, -x), "round": (-x, -y)}[turn]
        return next(wind for wind, step in STEPS.items() if step == (x, y))

    def working(self, wind: str, turns: list[str]) -> str:
        return ", ".join(self.truth(wind, turns[: i + 1]) for i in range(len(turns)))


class Logic(Task):
    """Say if a statement of true, false, and, or, not is true."""

    Dials = sized(3, "how many words true and false are in it", 1, 10, steps=True)
    choices = ("false", "true")
    asks = ("The judge says: {statement}. So it is", "Is this true or false: {statement}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"statement": _statement(random, random.integers(2), dials.size)}

    def truth(self, statement: str) -> str:
        return self._reduce(statement)[-1]

    def working(self, statement: str) -> str:
        return ", ".join(self._reduce(statement))

    def _reduce(self, statement):
        """Return the statement after each round of replacing what can be replaced."""
        rounds, simpler = [], statement
        while simpler not in self.choices:
            before = simpler
            for left, right in SIMPLER:
                simpler = simpler.replace(left, right)
            if simpler == before:
                raise ValueError(f"not a statement: {statement}")
            rounds.append(simpler)
        return rounds or [statement]

    def second(self, statement: str) -> str:
        return str(evaluate(statement.replace("true", "True").replace("false", "False"))).lower()


SIMPLER = [("not true", "false"), ("not false", "true")] + [
    (f"({x} {word} {y})", "true" if (word == "or") + (x == "true") + (y == "true") > 1 else "false")
    for x in ("true", "false") for word in ("and", "or") for y in ("true", "false")
]  # fmt: skip


def _statement(random, value, size):
    """Return a statement that is true or false as `value` says: 0 or 1."""
    if size == 1:
        return ("false", "true")[value] if random.integers(2) else ("not true", "not false")[value]
    left = 1 + random.integers(size - 1)
    word, ruling = (("and", 0), ("or", 1))[random.integers(2)]
    x = y = value
    if value == ruling and (n := random.integers(3)):  # one side decides, and the other is as it likes
        x, y = (value, 1 - value) if n == 1 else (1 - value, value)
    return f"({_statement(random, x, left)} {word} {_statement(random, y, size - left)})"
