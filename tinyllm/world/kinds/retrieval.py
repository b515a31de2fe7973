"""Ask questions with numbered passages; the answer names the passage that it comes from."""

import re
from functools import cache

from tinyllm.world.calendar import Date
from tinyllm.world.document import attempts
from tinyllm.world.facts import Fact
from tinyllm.world.forms import Shape
from tinyllm.world.phrases import QUESTIONS, passage, say
from tinyllm.world.question import asks, dials
from tinyllm.world.world import World

RELATIONS = ("lives_in", "born_in", "works_as", "likes", "enjoys", "best_friend")
NOWHERE = "not said [0]"


@cache
def _known(world):
    """Return {person: {relation: object}}, and {person: people who share only the first or last name}."""
    facts: dict[str, dict] = {person.name: {} for person in world.adults}
    for fact in world.facts():
        if fact.subject in facts and fact.relation in RELATIONS:
            facts[fact.subject][fact.relation] = fact.object
    alike = {p.name: [q.name for q in world.adults if (q.first == p.first) != (q.last == p.last)]
             for p in world.adults}
    return facts, alike


def _move(world, random):
    """Draw facts about the homes of an adult who has moved: an earlier one, and the one of now."""
    for _ in attempts():
        (new,) = world.ask(Fact(random.choice(world.adults).name, "lives_in", None))
        if others := [fact for fact in world.history if fact[:2] == new[:2] and fact.since < new.since
                      and fact.object != new.object]:
            return random.choice(others), new


def _draw(world, random, dials):
    """Draw a question and passages; one passage at a random place has the answer, or no passage has it."""
    facts, _ = _known(world)
    old, new = _move(world, random) if dials.outdated and random.happens(dials.outdated) else (0, 0)
    subject, way = (old.subject, RELATIONS.index("lives_in")) if old else (
        random.choice(world.adults).name, random.integers(len(RELATIONS)))
    source = 0 if random.happens(dials.missing) else 1 + random.integers(dials.passages)
    passages = []
    for place in range(1, dials.passages + 1):
        if place == source:
            who = random.choice(world.adults).name if random.happens(dials.false) else subject
            fact = Fact(subject, RELATIONS[way], facts[who][RELATIONS[way]], new.since if new else 0)
        else:
            fact = _other(world, random, subject, RELATIONS[way], random.happens(dials.wrong))
        passages.append((fact, random.integers(4)))
    if old and source:
        passages.insert(random.integers(len(passages) + 1), (old, random.integers(4)))
    return {"passages": passages, "s": subject, "way": way}


def _other(world, random, subject, relation, misleads):
    """Draw a fact that does not answer the question; if `misleads`, about a namesake or another relation."""
    facts, alike = _known(world)
    if misleads and alike[subject] and random.integers(2):
        name = random.choice(alike[subject])
    elif misleads:
        name, relation = subject, random.choice([other for other in RELATIONS if other != relation])
    else:
        name, relation = subject, random.choice(RELATIONS)
        while name == subject:
            name = random.choice(world.adults).name
    return Fact(name, relation, facts[name][relation])


def _labels(world, passages, s, way):
    """Return the labels of a document; "source" is the number of the passage with the answer, or 0."""
    relation, right = RELATIONS[way], _known(world)[0][s][RELATIONS[way]]
    answers = [(fact.since, i, fact.object) for i, (fact, _) in enumerate(passages, 1)
               if fact[:2] == (s, relation)]
    _, source, told = max(answers, default=(0, 0, right))
    return {"subject": s, "relation": relation, "source": source, "right": right, "false": told != right}


def _compare(world, prompt, s, way):
    """Solve independently: search for all sentences that could be an answer, true or not; take the newest."""
    told, found = {facts[RELATIONS[way]] for facts in _known(world)[0].values()}, [(-1, NOWHERE)]
    for i, text in enumerate(re.split(r" ?\[\d+\] ", prompt)):
        date, _, said = text.rpartition(") ")
        found += [(Date.read(date[1:]).number if date else 0, f"{object_} [{i}]") for object_ in told
                  if said.startswith(tuple(say(Fact(s, RELATIONS[way], object_), n) for n in range(4)))]
    return max(found)[1]


FACTS = passage(*RELATIONS)
PASSAGES = Shape(r"\[1\] .+?\.",
                 lambda told: " ".join(f"[{i}] " + f"({Date.of(fact.since)}) " * (fact.since > 0)
                                       + say(fact, way) for i, (fact, way) in enumerate(told, 1)),
                 lambda text: FACTS.read(re.sub(r"\[\d+\] (\(.+?\) )?", "", text)))


@asks(*[f"{{passages}} {QUESTIONS[relation]}" for relation in RELATIONS], slots={"passages": PASSAGES},
      group="retrieval", marker="", draw=_draw, second=_compare, labels=_labels,
      chance=lambda dials: float(dials.missing),  # the constant answer for questions without an answer
      splits={"entity": lambda d: d.labels["subject"], "source": lambda d: d.labels["source"] == 2},
      Dials=dials(passages=(3, "passages to read", 1, 12),
                  wrong=(0.5, "share of other passages that mislead: near in name or subject", 0, 1),
                  missing=(0.2, "share of questions that no passage answers", 0, 0.9),
                  false=(0.0, "share of answers that passages get wrong", 0, 1),
                  outdated=(0.0, "share of questions with two dated answers: the newer counts", 0, 1)))
def retrieval(world: World, passages: list, s: str, way: int) -> str:
    """Answer a question from numbered passages and name the source, or say that no passage has the answer."""
    source = _labels(world, passages, s, way)["source"]
    return f"{passages[source - 1][0].object} [{source}]" if source else NOWHERE
