"""Small tasks about birthdays and ages."""

from dataclasses import make_dataclass

from tinyllm.config import setting
from tinyllm.world.calendar import Date
from tinyllm.world.task import pick, task


def _birthdays(world, random, dials):
    while True:
        one, two = pick(random, world.people, 2)
        if one.born != two.born and abs(one.born - two.born) < 360 * dials.years:
            a, b = str(Date.of(one.born)), str(Date.of(two.born))
            return {"one": one.name, "a": a, "two": two.name, "b": b}


_YEARS = setting(60, help="how many years may lie between the birthdays", min=1, max=60)


@task("{one} was born on {a}, {two} on {b}. The older one is",
      "Birthdays: {one}, {a}; {two}, {b}. Who is older?",
      Dials=make_dataclass("Dials", [("years", int, _YEARS)], frozen=True), options=2, draw=_birthdays,
      second=lambda one, a, two, b: min((Date.read(a).number, one), (Date.read(b).number, two))[1],
      )  # fmt: skip
def older(one: str, a: str, two: str, b: str) -> str:
    """Say which of two people is older, by their birthdays."""
    return one if Date.read(a) < Date.read(b) else two


def _two_years(world, random, dials):
    person = random.choice(world.people)
    a = person.born // 360
    return {"name": person.name, "a": a, "b": a + 1 + random.integers(79 - a)}


@task("{name} was born in the year {a:int}. Candles on the birthday cake in the year {b:int}:",
      "{name}, born in the year {a:int}, was in the year {b:int} aged",
      draw=_two_years, second=lambda name, a, b: str(len(range(a, b))))  # fmt: skip
def age_in(name: str, a: int, b: int) -> str:
    """Say how old somebody was in a year."""
    return str(b - a)
