"""Write instructions with their answers, about people, families, ages, roads and trades of the world."""

from contextlib import suppress
from functools import cache
from typing import Any

from tinyllm.world.calendar import Date
from tinyllm.world.document import Document
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES
from tinyllm.world.kinds.knowledge import stranger
from tinyllm.world.kinds.refusal import refusal as _refusal
from tinyllm.world.names import ANIMALS, JOBS, PLACES, words
from tinyllm.world.phrases import ask, asked, say
from tinyllm.world.question import asks, dials

NOBODY = "Nobody knows."
SOUNDS = {sound: animal for animal, (_, sound) in ANIMALS.items()}
FORMS = words("sentence capitals spell polite older children road tool sound plain help")
ASKED: dict[str, tuple] = {  # form -> (what follows a question, the answer from a fact, the same otherwise)
    "sentence": ("Answer in a full sentence.", say, say),
    "capitals": ("Answer in capital letters.", lambda fact: fact.object.upper(),
                 lambda fact: "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in fact.object)),
    "spell": ("Spell it.", lambda fact: "-".join(fact.object.replace(" ", "")),
              lambda fact: "".join(f"-{letter}" for letter in fact.object if letter != " ")[1:]),
    "polite": ("Answer politely.", *[lambda fact: f"Gladly: {fact.object}, dear friend."] * 2),
    "plain": ("Answer in a few words.", *[lambda fact: fact.object] * 2),
}


def _two_ages(world, random):
    person, other = random.choice(world.people), random.choice(world.people)
    while other.born == person.born:
        other = random.choice(world.people)
    return {"person": person.name, "other": other.name}


@cache
def _children(world):
    """Return {parent: names of the children, the oldest first}."""
    found: dict[str, list[str]] = {}
    for person in sorted(world.people, key=lambda p: (p.born, p.name)):
        for parent in filter(None, (vars(person).get("mother"), vars(person).get("father"))):
            found.setdefault(parent, []).append(person.name)
    return found


def _by_age(world, names):
    """Sort names by the birthdays that facts tell, the oldest first."""
    return sorted(names, key=lambda name: (Date.read(world.ask(Fact(name, "born_on", None))[0].object), name))


def _helped(world, request):
    for way, template in enumerate(_refusal.templates):
        with suppress(LookupError):  # nobody is called "the show with Mia", whose bell one could steal
            if found := template.read(request):
                return _refusal.truth(world, found["owner"], way)
    return ""


OTHERS: dict[str, tuple] = {  # form -> (instruction, draw of its fields, the answer, the answer by search)
    "older": ("Who is older, {person} or {other}?", _two_ages,
              lambda world, person, other: min(person, other, key=lambda name: world.names[name].born),
              lambda world, person, other: _by_age(world, [person, other])[0]),
    "children": ("Name the children of {person}, the oldest first.",
                 lambda world, random: {"person": random.choice(list(_children(world)))},
                 lambda world, person: ", ".join(_children(world)[person]),
                 lambda world, person: ", ".join(_by_age(
                     world, [fact.object for fact in world.ask(Fact(person, "child", None))]))),
    "road": ("How long is the road from {place} to {goal}?",
             lambda world, random: dict(zip(
                 ("place", "goal"), random.shuffle(random.choice(list(world.map.roads))), strict=True)),
             lambda world, place, goal: f"{world.map.roads[min(place, goal), max(place, goal)]} miles",
             lambda world, **ends: next(
                 f"{miles} miles" for road, miles in world.map.roads.items() if {*road} == {*ends.values()})),
    "tool": ("What does a {job} need for the work?",
             lambda world, random: {"job": random.choice(list(JOBS))}, lambda world, job: JOBS[job][1],
             lambda world, job: world.ask(Fact(job, "tool", None))[0].object),
    "sound": ("Which animal {sound}?", lambda world, random: {"sound": random.choice(list(SOUNDS))},
              lambda world, sound: f"the {SOUNDS[sound]}",
              lambda world, sound: f"the {world.ask(Fact(None, 'sound', sound))[0].subject}"),
    "help": ("{request:any}", lambda world, random: {"request": _refusal(world, random).prompt}, _helped,
             lambda world, request: _refusal.solve(world, Document(request, {}, prompt=request))),
}


def _draw(world, random, unknown, requests):
    form = "help" if requests and random.happens(requests) else random.choice(FORMS[:-1])
    if form in OTHERS:
        return {"way": FORMS.index(form), **OTHERS[form][1](world, random)}
    strange = unknown and random.happens(unknown)
    name = stranger(world, random) if strange else random.choice(world.adults).name
    return {"way": FORMS.index(form), "question": Fact(name, random.choice(list(VALUES)), None)}


def _search(world, way, fields):
    """Solve independently: search the facts of the world."""
    if FORMS[way] in OTHERS:
        return OTHERS[FORMS[way]][3](world, **fields)
    found = world.ask(fields["question"])
    return ASKED[FORMS[way]][2](found[0]) if found else NOBODY


def _labels(way, fields):
    about = next(iter(fields.values()))
    return {"instruction": FORMS[way], "about": ask(about) if isinstance(about, Fact) else about}


@asks(*[OTHERS[form][0] if form in OTHERS else f"{{question}} {ASKED[form][0]}" for form in FORMS],
      slots={"question": asked(*VALUES), "job": JOBS, "sound": SOUNDS, "place": PLACES, "goal": PLACES},
      group="dialogue", marker="", chance=lambda dials: 0.03, draw=_draw, second=_search, labels=_labels,
      n=40_000, splits={"prompt": lambda d: d.prompt, "entity": lambda d: d.labels["about"]},
      Dials=dials(unknown=(0.0, "share of questions about people whom nobody knows", 0, 1),
                  requests=(0.0, "share of requests, half of which would hurt somebody", 0, 1)))
def instruction(world: Any, way: int, fields: dict) -> str:
    """Follow an instruction about the world, and answer in the form that the instruction asks for."""
    if FORMS[way] in OTHERS:
        return OTHERS[FORMS[way]][2](world, **fields)
    question = fields["question"]
    if question.subject not in world.names:
        return NOBODY
    value = vars(world.names[question.subject])[question.relation]
    return ASKED[FORMS[way]][1](question._replace(object=value))
