"""Run the tools that a model can call inside its text: a calculator, the calendar, the encyclopaedia.

    call(world, "... How many apples are that? [calc 27 * 43]")   # "1161"

A call in square brackets has the name of a tool and its input. The result of a call is written after `=>`.
"""

import re
from collections.abc import Callable
from typing import Any

from tinyllm.errors import UserError
from tinyllm.world.calendar import Date
from tinyllm.world.facts import Fact
from tinyllm.world.interpreter import evaluate

MAX_CALL = 80  # characters between the brackets
CARD = {"lives_in": "Home", "works_as": "Job", "likes": "Food", "best_friend": "Friend", "mother": "Mother"}
CALL = re.compile(r"\[([a-z]+) ([^\[\]\n]*)\]")


def call(world: Any, text: str) -> str:
    """Run the last call in a text and return the tool's result, which has one line.

    Raises UserError for a text without a call, an unknown tool, or input that the tool refuses.
    """
    found = CALL.findall(text[-1000:])
    if not found:
        raise UserError(f"there is no call such as [calc 27 * 43] in {text[-40:]!r}")
    tool, given = found[-1]
    if tool not in TOOLS:
        raise UserError(f"there is no tool called {tool}; there are {', '.join(TOOLS)}")
    if len(given) > MAX_CALL:
        raise UserError(f"a call has at most {MAX_CALL} characters, this one has {len(given)}")
    return TOOLS[tool](world, given)


def _calc(world, given):
    value = evaluate(given)
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
