"""Instructions with their answers: facts in several forms, families, ages, roads and trades of the world."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.calendar import Date
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES, Form, grown_ups, proved, read_any
from tinyllm.world.names import ANIMALS, JOBS, PLACES
from tinyllm.world.phrases import ask, say
from tinyllm.world.world import World

FORMS = {
    "sentence": Form("{question} Answer in a full sentence."),
    "capitals": Form("{question} Answer in capital letters."),
    "spell": Form("{question} Spell it."),
    "polite": Form("{question} Answer politely."),
    "older": Form("Who is older, {person} or {other}?"),
    "children": Form("Name the children of {person}, the oldest first."),
    "road": Form("How long is the road from {place} to {goal}?", place=PLACES, goal=PLACES),
    "tool": Form("What does a {job} need for the work?", job=JOBS),
    "sound": Form("Which animal {sound}?", sound=[sound for _, sound in ANIMALS.values()]),
    "plain": Form("{question} Answer in a few words."),
}
SHAPES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "spell": lambda value: "-".join(value.replace(" ", "")),
    "polite": lambda value: f"Gladly: {value}, dear friend.",
    "plain": str,
}
FACTUAL = ("sentence", *SHAPES)


class Instruction(Kind):
    """Follow an instruction about the world, in the form that it asks for."""

    group = "dialogue"
    splits = {"prompt": lambda document: document.prompt, "entity": lambda d: d.labels["about"]}

    @dataclass(frozen=True)
    class Dials:
        """Set what is asked for."""

        instruction: str = setting("any", help="what is asked for", choices=("any", *FORMS))

    def chance(self, dials: Dials) -> float:
        return {"road": 1 / 3, "tool": 1 / len(JOBS), "sound": 1 / len(ANIMALS)}.get(dials.instruction, 0.03)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        form = random.choice(list(FORMS)) if dials.instruction == "any" else dials.instruction
        if form in FACTUAL:
            person, relation = random.choice(grown_ups(world)), random.choice(list(VALUES))
            value = getattr(person, relation)
            fact = Fact(person.name, relation, value)
            answer = say(fact) if form == "sentence" else SHAPES[form](value)
            return self._document(form, answer, question=ask(fact))
        if form == "older":
            person, other = random.choice(world.people), random.choice(world.people)
            while other.born == person.born:
                other = random.choice(world.people)
            older = person if person.born < other.born else other
            return self._document(form, older.name, person=person.name, other=other.name)
        if form == "children":
            parent = random.choice(list(_children(world)))
            return self._document(form, ", ".join(_children(world)[parent]), person=parent)
        if form == "road":
            place, goal = random.shuffle(random.choice(list(world.map.roads)))
            return self._document(form, f"{world.map.neighbours(place)[goal]} miles", place=place, goal=goal)
        if form == "tool":
            job = random.choice(list(JOBS))
            return self._document(form, JOBS[job][1], job=job)
        animal = random.choice(list(ANIMALS))
        return self._document(form, f"the {animal}", sound=ANIMALS[animal][1])

    def read(self, world: World, text: str) -> Document | None:
        for i in range(len(text)):
            if text[i - 1] in "?." and text[i] == " " and (found := read_any(list(FORMS.values()), text[:i])):
                document = self._document(list(FORMS)[found[0]], text[i + 1 :], **found[1])
                if read := proved(self, world, document, text):
                    return read
        return None

    def solve(self, world: World, document: Document) -> str:
        """Ask the facts of the world."""
        i, about = read_any(list(FORMS.values()), document.prompt) or (0, {})
        form = list(FORMS)[i]
        if form in FACTUAL:
            fact = _questions(world).get(about["question"])
            return _formed(form, fact) if fact else ""
        if form in ("older", "children"):
            names = [str(about["person"]), str(about.get("other"))]
            if form == "children":
                names = [str(fact.object) for fact in world.ask(Fact(about["person"], "child", None))]
            born = {name: fact.object for name in names for fact in world.ask(Fact(name, "born_on", None))}
            ages = sorted(born, key=lambda name: (Date.read(str(born[name])), name))
            return ", ".join(ages) if form == "children" else ages[0] if len(ages) == 2 else ""
        if form == "road":
            miles = [m for road, m in world.map.roads.items() if {*road} == {about["place"], about["goal"]}]
            return f"{miles[0]} miles" if miles else ""
        if form == "tool":
            return str(world.ask(Fact(about["job"], "tool", None))[0].object)
        return f"the {world.ask(Fact(None, 'sound', about['sound']))[0].subject}"

    def _document(self, form, answer, **values):
        about = next(iter(values.values()))
        return self.asked(FORMS[form].say(**values), answer, {"instruction": form, "about": about})


def _formed(form, fact):
    """Return the object of a fact in the form that was asked for."""
    if form == "sentence":
        return say(fact)
    if form == "capitals":
        return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in fact.object)
    if form == "spell":
        return "".join(f"-{letter}" for letter in fact.object if letter != " ")[1:]
    return f"Gladly: {fact.object}, dear friend." if form == "polite" else fact.object


@cache
def _questions(world):
    """Return the questions for all facts of VALUES, each with its fact."""
    return {ask(fact): fact for relation in VALUES for fact in world.known().find(Fact(None, relation, None))}


@cache
def _children(world):
    """Return for everybody who has children their names, the oldest first."""
    found = {}
    for person in sorted(world.people, key=lambda p: (p.born, p.name)):
        for parent in (getattr(person, "mother", None), getattr(person, "father", None)):
            if parent:
                found.setdefault(parent, []).append(person.name)
    return found
