"""Ask questions that are answered from a passage."""

import itertools

from tinyllm.config import setting
from tinyllm.world.facts import Fact, FactBase
from tinyllm.world.forms import VALUES
from tinyllm.world.names import FOODS
from tinyllm.world.phrases import QUESTIONS, answer, passage
from tinyllm.world.question import asks, dials

FRIEND = "the best friend of "
NOBODY = "Nobody knows"
RELATIONS = list(VALUES)


def _draw(world, random, unknown, sentences, hops):
    people: list[str] = []
    while len(people) < 3:
        first = random.choice(world.people).first
        people += [first] if first not in people else []
    slots = random.shuffle(itertools.product(people, VALUES))
    asked, friend = slots[0], people[1] if slots[0][0] == people[0] else people[0]
    answered = not random.happens(unknown)
    told = slots[:sentences] if answered else slots[1 : sentences + 1]
    facts = [Fact(person, relation, random.choice(VALUES[relation])) for person, relation in told]
    if hops == 2:
        facts[-1] = Fact(friend, "best_friend", asked[0])
    told = [(fact, random.integers(4)) for fact in random.shuffle(facts)]
    subject = FRIEND + friend if hops == 2 else asked[0]
    return {"told": told, "s": subject, "way": RELATIONS.index(asked[1])}


def _support(told, s, way):
    """Return (indices of the sentences that lead to the answer, True if the passage holds the answer)."""
    number = {(fact.subject, fact.relation): i for i, (fact, _) in enumerate(told)}
    support, person = [], s.removeprefix(FRIEND)
    if person != s:
        support.append(number.get((person, "best_friend"), 0))
        person = told[support[0]][0].object
    answered = (person, RELATIONS[way]) in number
    return [*support, number[person, RELATIONS[way]]] if answered else [], answered


def _labels(told, s, way):
    support, answered = _support(told, s, way)
    return {"asked": [s, RELATIONS[way]], "support": [i + 1 for i in support], "known": answered}


def _rules(told, s, way):
    """Find the answer independently: put the facts of the passage into a store, and query it."""
    facts, found = FactBase(fact for fact, _ in told), [s]
    if s.startswith(FRIEND):
        found = [f.object for f in facts.find(Fact(s.removeprefix(FRIEND), "best_friend", None))]
    found = [f.object for person in found for f in facts.find(Fact(person, RELATIONS[way], None))]
    article = "a " if RELATIONS[way] == "owns" else ""
    return article + found[0] if found else NOBODY


@asks(*[f"{{told}} {QUESTIONS[relation]}" for relation in RELATIONS],
      slots={"told": passage(*RELATIONS, "best_friend")}, group="understanding", marker="",
      chance=lambda dials: max(dials.unknown, (1 - dials.unknown) / (len(VALUES) * len(FOODS))),
      draw=_draw, second=_rules, labels=_labels,
      splits={"combination": lambda d: d.labels["asked"]},
      Dials=dials(
          sentences=setting(4, help="how many sentences the passage has", min=2, max=9),
          hops=setting(1, help="sentences that the answer needs, up to a friend's fact", min=1, max=2),
          unknown=setting(0.2, help="share of questions that the passage does not answer", min=0, max=0.9)))
def reading(told: list, s: str, way: int) -> str:
    """Answer a question from a passage about three people, or say that the answer is missing."""
    support, answered = _support(told, s, way)
    return answer(told[support[-1]][0]) if answered else NOBODY
