"""Make a small world of people, places, animals and events, and answer questions about it.

    world = World(seed=0, size=240)
    world.ask(Fact("Mia Brown", "grandmother", None))     # facts, given or derived
    world.holds("Mia Brown's mother is Lena Brown.")

Three generations live in 24 places joined by roads. Everything is drawn from the seed with tinyllm.rng, so
a seed gives the same world on every machine. VERSION changes when a seed begins to give another world.
"""

import difflib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.calendar import DAYS_OF_YEAR, Date
from tinyllm.world.facts import Fact, FactBase, read_rules
from tinyllm.world.phrases import read_statements
from tinyllm.world.template import Entity

VERSION = "2"
PRESENT = Date(80, 0, 0)
BIRTHS = ((0, 6), (26, 32), (52, 58))  # the years in which each generation was born
OF_AGE = 18 * DAYS_OF_YEAR
MOST_CHILDREN = 6  # per couple; births are at least a year apart
CHANGING = {"lives_in", "works_as"}  # relations in which a new fact replaces older ones
COLUMNS, ROWS, SCALE = 12, 8, 3  # of the map: cells of the grid, miles from cell to cell
ADULT = {"works_as", "likes", "enjoys", "owns", "best_friend", "lives_in"}

RULES = """
parent(x, y) if mother(x, y)
parent(x, y) if father(x, y)
child(x, y) if parent(y, x)
sibling(x, y) if mother(x, z), mother(y, z), x != y
sister(x, y) if sibling(x, y), is_a(y, woman)
brother(x, y) if sibling(x, y), is_a(y, man)
grandmother(x, z) if parent(x, y), mother(y, z)
grandfather(x, z) if parent(x, y), father(y, z)
aunt(x, z) if parent(x, y), sister(y, z)
uncle(x, z) if parent(x, y), brother(y, z)
cousin(x, y) if parent(x, a), sibling(a, b), child(b, y)
mother_in_law(x, z) if married_to(x, y), mother(y, z)
neighbour(x, y) if lives_in(x, z), lives_in(y, z), x != y
can(x, y) if works_as(x, z), skill(z, y)
can(x, y) if is_a(x, z), skill(z, y)
works_at(x, y) if works_as(x, z), workplace(z, y)
uses(x, y) if works_as(x, z), tool(z, y)
"""


@dataclass(frozen=True)
class WorldConfig:
    """The settings of a world; `bias` is the chance of the first 8 jobs for women, of the last 8 for men."""

    seed: int = setting(0, help="each number gives another world", min=0, max=2**63 - 1)
    size: int = setting(240, help="how many people live there", min=12, max=1500)
    bias: float = setting(0.5, help="chance of a job of the half that goes with the gender", min=0, max=1)
    year: int = setting(80, help="the year in which facts hold, if no other is asked for", min=60, max=80)


class World:
    """A world of `size` people, drawn from a seed; a setting that is out of range raises UserError."""

    def __init__(self, seed: int = 0, size: int = 240, bias: float = 0.5, year: int = 80):
        self.config = WorldConfig(seed, size, bias, year)
        check(self.config, "world: ")
        self.random = Random(seed, "world", VERSION, size)
        self.map = Map(names.PLACES, Random(seed, "map"))
        self.history: list[Fact] = list(_trades())  # all facts that were ever true, by their first days
        self.people: list[Entity] = []
        self._taken: set[str] = set()
        self._families()
        for person in self.people:
            self._life(person)
        self._friendships()
        self._feasts()
        self.history.sort(key=lambda fact: fact.since)
        for fact in self.facts():  # present facts are attributes, for grammars: {person.likes}
            if fact.subject in self.names:
                vars(self.names[fact.subject])[fact.relation] = fact.object

    # Facts and questions.

    def facts(self) -> list[Fact]:
        """Return the facts that are true as the world's year begins, oldest first, without derived facts."""
        held: dict[tuple, Fact] = {}
        for fact in self.history:
            if fact.since < self.config.year * DAYS_OF_YEAR:
                key = fact[:2] if fact.relation in CHANGING else fact[:3]
                held.pop(key, None)
                held[key] = fact
        return list(held.values())

    @cached_property
    def known(self) -> FactBase:
        """Return the facts that are true as the world's year begins, and all facts that follow from them."""
        return FactBase(self.facts(), read_rules(RULES))

    def ask(self, pattern: Fact) -> list[Fact]:
        """Return the facts that fit a pattern; Fact("Mia Brown", "aunt", None) finds all aunts of Mia."""
        if not isinstance(pattern, Fact) or pattern.relation is None:
            raise UserError(f'ask with a Fact such as Fact("Mia Brown", "aunt", None), got {pattern!r}')
        return list(self.known.find(pattern))

    def holds(self, statement: str) -> bool:
        """Return True if a sentence that states a fact is true.

        Raises UserError for a sentence that states no fact, or that names somebody who is not in the world.
        """
        readings = [fact for fact, _ in read_statements(f"{statement.removesuffix('.')}.")]
        if not readings:
            raise UserError(f"{statement!r} says nothing that the world can check; "
                            "`tinyllm data show world:facts` shows how")
        if not {fact.subject for fact in readings} & {fact.subject for fact in self.history}:
            self.person(str(readings[0].subject))  # raises an error that lists similar names
        return any(fact in self.known for fact in readings)

    def person(self, name: str) -> Entity:
        """Return the person called `name`; raise UserError, with similar names, if there is none."""
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, 5, cutoff=0.5) or list(self.names)[:5]
            raise UserError(f"nobody in this world is called {name!r}; there are {', '.join(near)}")
        return self.names[name]

    @cached_property
    def names(self) -> dict[str, Entity]:
        """Return {name: person} for all people."""
        return {person.name: person for person in self.people}

    @cached_property
    def adults(self) -> list[Entity]:
        """Return the people who have a job, tastes, a treasure and a best friend in the world's year."""
        return [person for person in self.people if vars(person).keys() >= ADULT]

    # How the world is drawn.

    def _families(self):
        """Draw three generations; the children of a generation's couples are the next generation."""
        size = self.config.size
        parents = [None] * (2 * round(size * 0.14))
        for generation in range(3):
            left = size - len(self.people)
            wanted = min(left, (len(parents), round(size * 0.36), left)[generation])
            couples = self._couples(parents, generation) if generation else []
            most = -(-wanted // len(couples)) if couples else 1  # children per couple at most
            born = []
            for i in range(wanted):
                nth, which = divmod(i, len(couples) or wanted)
                couple = couples[which] if couples and nth < MOST_CHILDREN else None
                day = self._birthday(generation, nth, min(most, MOST_CHILDREN))
                born.append(self._birth((which + nth) % 2 == 1, day, couple))
            parents = born

    def _birthday(self, generation, nth, most):
        """Draw the birthday of child `nth` of at most `most`, a year or more after child `nth` - 1."""
        first_year, last_year = BIRTHS[generation]
        share = (last_year - first_year) * DAYS_OF_YEAR // most
        free = share if most == 1 else share - DAYS_OF_YEAR + 1
        return first_year * DAYS_OF_YEAR + nth % most * share + self.random.integers(free)

    def _birth(self, girl, day, couple):
        random, last = self.random, couple[1].last if couple else None
        pronouns, given = (names.SHE, names.GIRLS) if girl else (names.HE, names.BOYS)
        if sum(name.endswith(f" {last}") for name in self._taken) > 30:
            last = None  # too many people have this name: draw another
        while True:
            name = random.choice(given), last or random.choice(names.FAMILIES)
            if " ".join(name) not in self._taken:
                break
        first, last = name
        person = Entity(f"{first} {last}", first=first, last=last, girl="woman" if girl else "man", born=day,
                        family=couple, **pronouns)
        self._taken.add(person.name)
        self.people.append(person)
        person.town = couple[0].town if couple else random.choice(names.PLACES)
        parents = {"mother": couple[0].name, "father": couple[1].name} if couple else {}
        told = {"is_a": person.girl, "born_on": str(Date.of(day))} | parents
        for relation, value in (told | {"born_in": person.town, "lives_in": person.town}).items():
            self._say(person, relation, value, day)
        return person

    def _couples(self, parents, generation):
        """Marry the women and men of a generation when both are of age, a year or more before children."""
        women = self.random.shuffle(p for p in parents if p.girl == "woman")
        men = self.random.shuffle(p for p in parents if p.girl == "man")
        couples = []
        for woman in women:
            strangers = [man for man in men if man.last != woman.last and (man.family or man) != woman.family]
            if not strangers:
                continue
            man = strangers[0]
            men.remove(man)
            of_age = max(woman.born, man.born) + OF_AGE
            day = of_age + self.random.integers((BIRTHS[generation][0] - 1) * DAYS_OF_YEAR - of_age)
            self._say(woman, "married_to", man.name, day)
            self._say(man, "married_to", woman.name, day)
            self._say(man, "lives_in", woman.town, day)
            man.town = woman.town
            couples.append((woman, man))
        return couples

    def _life(self, person):
        """Draw a job, tastes, a possession, perhaps a pet, perhaps a move to another town."""
        random, grown = self.random, person.born + OF_AGE
        jobs = list(names.JOBS)
        with_gender = random.happens(self.config.bias)
        half = jobs[:8] if with_gender == (person.girl == "woman") else jobs[8:]
        self._say(person, "works_as", random.choice(half), grown + random.integers(3 * DAYS_OF_YEAR))
        self._say(person, "likes", random.choice(names.FOODS), person.born + DAYS_OF_YEAR)
        self._say(person, "enjoys", random.choice(names.PASTIMES), person.born + 6 * DAYS_OF_YEAR)
        self._say(person, "owns", f"{random.choice(names.COLOURS)} {random.choice(names.THINGS)}", grown)
        if random.integers(2):
            animal = random.choice(list(names.ANIMALS))
            pet = f"{random.choice(names.PETS)} the {animal}"
            if pet not in self._taken:
                self._taken.add(pet)
                day = PRESENT.number - 1 - random.integers(9 * DAYS_OF_YEAR)
                self._say(person, "pet", pet, day)
                self.history.append(Fact(pet, "is_a", animal, day))
        if random.integers(3) == 0:
            day = grown + random.integers(PRESENT.number - grown)
            self._say(person, "lives_in", random.choice(names.PLACES), day)

    def _friendships(self):
        """Give everybody a best friend of nearly the same age; the friend may have another best friend."""
        by_age = sorted(self.people, key=lambda p: p.born)
        for i, person in enumerate(by_age):
            near = [p for p in by_age[max(0, i - 8) : i + 9] if p is not person]
            friend = self.random.choice(near)
            self._say(person, "best_friend", friend.name, max(person.born, friend.born) + 10 * DAYS_OF_YEAR)

    def _feasts(self):
        for feast in names.FEASTS:
            self.history.append(Fact(feast, "held_in", self.random.choice(names.PLACES), 0))
            day = Date.of(self.random.integers(DAYS_OF_YEAR))
            self.history.append(Fact(feast, "held_on", str(day).removesuffix(" 0"), 0))

    def _say(self, person, relation, value, day):
        self.history.append(Fact(person.name, relation, value, day))


class Map:
    """Places {name: (column, row)} and roads {(a, b): miles}; the roads connect all places."""

    def __init__(self, names: Sequence[str], random: Random):
        cells = random.shuffle(itertools.product(range(COLUMNS), range(ROWS)))
        self.places = dict(zip(names, cells, strict=False))
        self.roads: dict[tuple[str, str], int] = {}
        joined = [names[0]]
        for place in names[1:]:  # join it to the nearest joined place, and to the second if near
            first, *more = sorted(joined, key=lambda other: (self._miles(place, other), other))
            self._build(place, first)
            if more and self._miles(place, more[0]) <= 4 * SCALE:
                self._build(place, more[0])
            joined.append(place)

    def _miles(self, a, b):
        (x, y), (u, v) = self.places[a], self.places[b]
        return math.isqrt(SCALE * SCALE * ((x - u) ** 2 + (y - v) ** 2))

    def _build(self, a, b):
        self.roads[min(a, b), max(a, b)] = self._miles(a, b)


def _trades() -> Iterable[Fact]:
    """Yield the facts about jobs and animals, which are true in every world."""
    for job, (skill, tool, place) in names.JOBS.items():
        yield from (Fact(job, "skill", skill), Fact(job, "tool", tool), Fact(job, "workplace", place))
    for animal, (skill, sound) in names.ANIMALS.items():
        yield from (Fact(animal, "skill", skill), Fact(animal, "sound", sound))
