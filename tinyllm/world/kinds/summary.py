"""Summaries: the main point of a passage."""

import itertools

from tinyllm.config import setting
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES, Shape, grown_ups
from tinyllm.world.phrases import STATEMENTS, passage, read_statements, say
from tinyllm.world.task import dials, task

MARKS = ("Above all: ", "The great news: ", "Mark this: ", "Listen well: ")
FACTS = passage(*VALUES)


def _say(marked):
    told, main, mark = marked
    return " ".join((mark if i == main else "") + say(*one) for i, one in enumerate(told))


def _read(text):
    mark = next(mark for mark in MARKS if mark in text)
    before, _, after = text.partition(mark)
    return FACTS.read(before + after), before.count(". "), mark


def _draw(world, random, dials):
    people = random.choice(grown_ups(world)), random.choice(grown_ups(world))
    slots = random.shuffle(itertools.product(people, VALUES))
    told = {(person.name, relation): getattr(person, relation) for person, relation in slots}
    facts = [Fact(*slot, value) for slot, value in told.items()][: dials.sentences]
    told = [(fact, random.integers(4)) for fact in facts]
    return {"told": (told, random.integers(len(facts)), random.choice(MARKS))}


def _labels(told):
    facts, main, _ = told
    return {"main": list(facts[main][0][:3]), "way": facts[main][1], "sentences": len(facts)}


def _marked(world, prompt):
    """Read the marked sentence, keep the reading that is true in the world, and say it plainly."""
    marked = next(prompt.partition(mark)[2] for mark in MARKS if mark in prompt)
    for fact, _ in read_statements(marked.partition(". ")[0].removesuffix(".") + "."):
        if fact.relation in VALUES and world.holds(fact):
            return STATEMENTS[fact.relation][0].format(s=fact.subject, o=fact.object)
    return ""


@task("{told} In short:", slots={"told": Shape(r".+?\.", _say, _read)}, group="understanding", marker="",
      draw=_draw, second=_marked, labels=_labels,
      splits={"entity": lambda d: d.labels["main"][0],
              "wording": lambda d: [d.labels["main"][1], d.labels["way"]]},
      Dials=dials(sentences=setting(4, help="how many sentences the passage has", min=1, max=9)))  # fmt: skip
def summary(told: tuple) -> str:
    """Say in one plain sentence what matters most in a passage."""
    facts, main, _ = told
    return say(facts[main][0])
