"""Run the tools that a model can call inside its text: a calculator, the calendar, the encyclopaedia.

    call(world, "calc 27 * 43")   # "1161"

In texts a call stands in square brackets, and its result after `=>`.
"""

from collections.abc import Callable
from typing import Any

from tinyllm.errors import UserError
from tinyllm.world.calendar import Date
from tinyllm.world.facts import Fact
from tinyllm.world.interpreter import run

CARD = {"lives_in": "Home", "works_as": "Job", "likes": "Food", "best_friend": "Friend", "mother": "Mother"}


def call(world: Any, said: str) -> str:
    """Return the result of a call such as "calc 27 * 43". Raises UserError if the tool refuses its input."""
    name, _, given = said.partition(" ")
    return TOOLS[name](world, given)


def _calc(world, given):
    value = run(given)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UserError(f"calc works with numbers only, got {given!r}")
    return str(value)


def _days(world, given):
    start, _, end = given.partition(" to ")
    return str(Date.read(end).number - Date.read(start).number)


def _after(world, given):
    start, _, days = given.partition(" + ")
    if not days.isdecimal() or len(days) > 6:
        raise UserError(f"after works on a date and some days, such as 3 May 41 + 40; got {given!r}")
    return str(Date.of(Date.read(start).number + int(days)))


def card(world: Any, name: str) -> str:
    """Return a person's entry in the encyclopaedia, such as "Mia Brown. Home: Nutley. Job: baker. ..."."""
    person = world.person(name)
    found = [(title, world.ask(Fact(person.name, relation, None))) for relation, title in CARD.items()]
    return ". ".join([name, *(f"{title}: {facts[0].object}" for title, facts in found if facts)]) + "."


TOOLS: dict[str, Callable[[Any, str], str]] = {
    "calc": _calc, "weekday": lambda world, given: Date.read(given).weekday, "days": _days, "after": _after,
    "look": card,
}
