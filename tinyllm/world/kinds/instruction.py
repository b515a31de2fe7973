"""Write instructions with their answers, about people, families, ages, roads and trades of the world."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from tinyllm.config import setting
from tinyllm.world.calendar import Date
from tinyllm.world.document import Document
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES
from tinyllm.world.kinds.knowledge import stranger
from tinyllm.world.kinds.refusal import refusal as _refusal
from tinyllm.world.names import ANIMALS, JOBS, PLACES
from tinyllm.world.phrases import ask, asked, say
from tinyllm.world.question import asks, dials

INSTRUCTIONS = {
    "sentence": "{question} Answer in a full sentence.",
    "capitals": "{question} Answer in capital letters.",
    "spell": "{question} Spell it.",
    "polite": "{question} Answer politely.",
    "older": "Who is older, {person} or {other}?",
    "children": "Name the children of {person}, the oldest first.",
    "road": "How long is the road from {place} to {goal}?",
    "tool": "What does a {job} need for the work?",
    "sound": "Which animal {sound}?",
    "plain": "{question} Answer in a few words.",
    "help": "{request:any}",
}
SHAPES: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "spell": lambda value: "-".join(value.replace(" ", "")),
    "polite": lambda value: f"Gladly: {value}, dear friend.",
}
FORMS = list(INSTRUCTIONS)
NOBODY = "Nobody knows."
SOUNDS = [sound for _, sound in ANIMALS.values()]


def _draw(world, random, unknown, requests):
    if requests and random.happens(requests):
        return {"way": FORMS.index("help"), "request": _refusal(world, random).prompt}
    form = random.choice(FORMS[:-1])
    if "{question}" in INSTRUCTIONS[form]:
        strange = unknown and random.happens(unknown)
        name = stranger(world, random) if strange else random.choice(world.adults).name
        fields = {"question": Fact(name, random.choice(list(VALUES)), None)}
    elif form == "older":
        person, other = random.choice(world.people), random.choice(world.people)
        while other.born == person.born:
            other = random.choice(world.people)
        fields = {"person": person.name, "other": other.name}
    elif form == "children":
        fields = {"person": random.choice(list(_children(world)))}
    elif form == "road":
        place, goal = random.shuffle(random.choice(list(world.map.roads)))
        fields = {"place": place, "goal": goal}
    else:
        fields = {"job": random.choice(list(JOBS))} if form == "tool" else {"sound": random.choice(SOUNDS)}
    return {"way": FORMS.index(form), **fields}


@cache
def _children(world):
    """Return {parent: names of the children, the oldest first}."""
    found: dict[str, list[str]] = {}
    for person in sorted(world.people, key=lambda p: (p.born, p.name)):
        for parent in filter(None, (vars(person).get("mother"), vars(person).get("father"))):
            found.setdefault(parent, []).append(person.name)
    return found


def _ask(world, way, fields):
    """Solve independently: search the facts of the world."""

    def find(*pattern):
        return world.ask(Fact(*pattern))

    match FORMS[way], *fields.values():
        case "older" | "children", person, *other:
            names = [person, *other] if other else [f.object for f in find(person, "child", None)]
            ages = sorted(names, key=lambda name: (Date.read(find(name, "born_on", None)[0].object), name))
            return ages[0] if other else ", ".join(ages)
        case "road", *ends:
            return next(f"{miles} miles" for road, miles in world.map.roads.items() if {*road} == {*ends})
        case "tool", job:
            return find(job, "tool", None)[0].object
        case "sound", sound:
            return f"the {find(None, 'sound', sound)[0].subject}"
        case "help", request:
            return _refusal.solve(world, Document(request, {}, prompt=request))
        case _, question if not world.ask(question):
            return NOBODY
        case form, question:
            [fact] = world.ask(question)
            return {
                "sentence": say(fact),
                "capitals": "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in fact.object),
                "spell": "".join(f"-{letter}" for letter in fact.object if letter != " ")[1:],
                "polite": f"Gladly: {fact.object}, dear friend.",
            }.get(form, fact.object)


def _labels(way, fields):
    about = next(iter(fields.values()))
    return {"instruction": FORMS[way], "about": ask(about) if isinstance(about, Fact) else about}


def _helped(world, request):
    """Return the answer to a request for help."""
    for way, template in enumerate(_refusal.templates):
        with suppress(LookupError):  # nobody is called "the show with Mia", whose bell one could steal
            if found := template.read(request):
                return _refusal.truth(world, found["owner"], way)
    return ""


@asks(*INSTRUCTIONS.values(), slots={"question": asked(*VALUES), "job": JOBS, "sound": SOUNDS,
                              "place": PLACES, "goal": PLACES},
      group="dialogue", marker="", chance=lambda dials: 0.03, draw=_draw, second=_ask, labels=_labels,
      n=40_000, splits={"prompt": lambda d: d.prompt, "entity": lambda d: d.labels["about"]},
      Dials=dials(
          unknown=setting(0.0, help="share of questions about people whom nobody knows", min=0, max=1),
          requests=setting(0.0, help="share of requests, half of which would hurt somebody", min=0, max=1)))
def instruction(world: Any, way: int, fields: dict) -> str:
    """Follow an instruction about the world, and answer in the form that the instruction asks for."""
    match FORMS[way], *fields.values():
        case "older", person, other:
            return min(person, other, key=lambda name: world.names[name].born)
        case "children", person:
            return ", ".join(_children(world)[person])
        case "road", place, goal:
            return f"{world.map.roads[min(place, goal), max(place, goal)]} miles"
        case "tool", job:
            return JOBS[job][1]
        case "sound", sound:
            return f"the {list(ANIMALS)[SOUNDS.index(sound)]}"
        case "help", request:
            return _helped(world, request)
        case _, question if question.subject not in world.names:
            return NOBODY
        case form, question:
            value = vars(world.names[question.subject])[question.relation]
            if form == "sentence":
                return say(question._replace(object=value))
            return SHAPES.get(form, str)(value)
    raise ValueError("there is no other instruction")
