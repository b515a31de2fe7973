"""Write prose about the people of the world by a grammar, so that its exact probability is known."""

from functools import cache
from typing import Any, ClassVar

from tinyllm.rng import Random
from tinyllm.world.calendar import WEEKDAYS
from tinyllm.world.document import Document, Kind
from tinyllm.world.grammar import Grammar
from tinyllm.world.names import a
from tinyllm.world.template import Entity, entities
from tinyllm.world.world import World


class Prose(Kind):
    """A kind of text that an unambiguous grammar writes, by `templates`, or by `rules` if dials matter."""

    group = "prose"
    splits = {"entity": lambda document: document.labels["hero"]}
    templates: ClassVar[dict] = {}

    def rules(self, dials: Any) -> dict:
        """Return the rules of the grammar, {name: templates}; template.py explains templates."""
        return self.templates

    def grammar(self, world: World, dials: Any) -> Grammar:
        """Return the grammar for some dials (settings); it is built when it is first used."""
        return _grammar(self, world, dials)

    def write(self, world: World, random: Random, dials: Any) -> Document:
        return self.grammar(world, dials).sample(random)

    def solve(self, world: World, document: Document) -> str:
        return ""

    def expectation(self, world: World, dials: Any = None, split: str = "all") -> tuple[float, float]:
        """Return the exact entropy in nats, and the mean length in characters, of the documents of a split.

        The documents of a split are about some people only, so they are a little easier to predict.
        """
        return _grammar(self, world, dials or self.dials(), split).expectation()


@cache
def _grammar(kind, world, dials, split="all"):
    tables = _tables(world)
    if split != "all":
        held = {p: kind.held_out(Document("", {"hero": p.name})) for p in tables["people"]}
        for table in ("people", "writers"):
            tables = {**tables, table: [p for p in tables[table] if held[p] == (split == "test")]}
    return Grammar(kind.rules(dials), tables, start=kind.name)


@cache
def _tables(world):
    """Return what sentences can draw: people, people whose best friend lives elsewhere, days, weathers."""
    for person in world.adults:
        vars(person).update(job=a(person.works_as), thing=a(person.owns), year=person.born_on.split()[-1],
                            friends=[world.person(person.best_friend)])
    complete = [person for person in world.adults if person.friends[0] in world.adults]
    writers = [person for person in complete if person.friends[0].lives_in != person.lives_in]
    return {
        "people": complete,
        "writers": writers or complete,
        "days": [Entity(name) for name in WEEKDAYS],
        "weather": list(WEATHER.values()),
        "heard": [WEATHER[name] for name in ("rain", "wind", "thunder")],
        "bad": [WEATHER[name] for name in ("rain", "snow", "wind", "fog", "thunder")],
    }


WEATHER = {weather.name: weather for weather in entities(
    "rain: rainy; snow: snowy; wind: windy; sunshine: sunny; fog: foggy; thunder: stormy", "day")}
