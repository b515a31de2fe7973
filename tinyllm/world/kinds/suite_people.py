"""Small tasks about the people and places of the world."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.calendar import Date
from tinyllm.world.task import FIRST_NAMES, Fields, Task, pick, sized
from tinyllm.world.world import World


@cache
def _miles(world):
    """Return the miles along the roads between all places: {place: [(other, miles)]}."""
    return {x: [(y, world.map.route(x, y)[0]) for y in world.map.places if y != x] for x in world.map.places}


class Older(Task):
    """Say which of two people is older, by their birthdays."""

    asks = ("{one} was born on {a}, {two} on {b}. The older one is",
            "Birthdays: {one}, {a}; {two}, {b}. Who is older?")  # fmt: skip

    @dataclass(frozen=True)
    class Dials:
        """The time between the birthdays."""

        years: int = setting(60, help="how many years may lie between the birthdays", min=1, max=60)

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        while True:
            one, two = pick(random, world.people, 2)
            if one.born != two.born and abs(one.born - two.born) < 360 * dials.years:
                a, b = str(Date.of(one.born)), str(Date.of(two.born))
                return {"one": one.name, "a": a, "two": two.name, "b": b}

    def truth(self, one: str, a: str, two: str, b: str) -> str:
        return one if Date.read(a) < Date.read(b) else two

    def second(self, one: str, a: str, two: str, b: str) -> str:
        return min((Date.read(a).number, one), (Date.read(b).number, two))[1]

    def chance(self, dials: Any) -> float:
        """Return the share of either person."""
        return 0.5


class AgeIn(Task):
    """Say how old somebody was in a year."""

    asks = ("{name} was born in the year {a:int}. Candles on the birthday cake in the year {b:int}:",
            "{name}, born in the year {a:int}, was in the year {b:int} aged")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        person = random.choice(world.people)
        a = person.born // 360
        return {"name": person.name, "a": a, "b": a + 1 + random.integers(79 - a)}

    def truth(self, name: str, a: int, b: int) -> str:
        return str(b - a)

    def second(self, name: str, a: int, b: int) -> str:
        return str(len(range(a, b)))


class Nearer(Task):
    """Say which of two towns is nearer, by the miles to each."""

    asks = ("From {home} it is {m:int} miles to {one} and {n:int} to {two}. Nearer is",
            "{home} to {one}: {m:int} miles; to {two}: {n:int} miles. The shorter way is to")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        home = random.choice(names.PLACES)
        (one, m), (two, n) = pick(random, _miles(world)[home], 2)
        if m == n:
            return self.draw(world, random, dials)
        return {"home": home, "m": m, "one": one, "n": n, "two": two}

    def truth(self, home: str, m: int, one: str, n: int, two: str) -> str:
        return one if m < n else two

    def second(self, home: str, m: int, one: str, n: int, two: str) -> str:
        return min((m, one), (n, two))[1]

    def chance(self, dials: Any) -> float:
        """Return the share of either town."""
        return 0.5


class ColourOf(Task):
    """Say the colour of one of several things."""

    Dials = sized(3, "how many things there are", 1, 8)
    asks = ("{name} has these: {things:list}. The colour of the {thing} is",
            "On the shelf of {name}: {things:list}. What colour is the {thing}?")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        things, colours = pick(random, names.THINGS, dials.size), pick(random, names.COLOURS, dials.size)
        both = [f"{colour} {thing}" for colour, thing in zip(colours, things, strict=True)]
        return {"name": random.choice(FIRST_NAMES), "things": both, "thing": random.choice(things)}

    def truth(self, name: str, things: list[str], thing: str) -> str:
        return next(both.split()[0] for both in things if both.split()[1] == thing)

    def second(self, name: str, things: list[str], thing: str) -> str:
        return ", ".join(things).partition(f" {thing}")[0].split(", ")[-1]

    def chance(self, dials: Any) -> float:
        """Return the share of each colour shown, or of a fixed colour if there is but one thing."""
        return 1 / dials.size if dials.size > 1 else 1 / len(names.COLOURS)


class Queue(Task):
    """Find the first of a queue from who stands behind whom."""

    Dials = sized(4, "how many people there are", 2, 8)
    asks = ("{pairs:list}. First in the queue is", "At the bakery {pairs:list}. Who is served first?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        people = pick(random, FIRST_NAMES, dials.size)
        pairs = [f"{y} is behind {x}" for x, y in pairwise(people)]
        return {"pairs": random.shuffle(pairs)}

    def truth(self, pairs: list[str]) -> str:
        ahead = {pair.split()[0]: pair.split()[-1] for pair in pairs}
        person = next(iter(ahead))
        while person in ahead:
            person = ahead[person]
        return person

    def second(self, pairs: list[str]) -> str:
        everybody = [name for pair in pairs for name in pair.split(" is behind ")]
        return next(x for x in everybody if not any(pair.startswith(f"{x} ") for pair in pairs))

    def chance(self, dials: Any) -> float:
        """Return the share of each person."""
        return 1 / dials.size
