"""Write passages with summaries; a passage states its main fact twice, in different words."""

import itertools
from collections import Counter

from tinyllm.config import setting
from tinyllm.world.facts import Fact
from tinyllm.world.forms import VALUES
from tinyllm.world.phrases import STATEMENTS, passage, read_statements, say
from tinyllm.world.question import asks, dials


def _draw(world, random, sentences):
    people = random.choice(world.adults), random.choice(world.adults)
    slots = random.shuffle(itertools.product(people, VALUES))
    values = {(person.name, relation): getattr(person, relation) for person, relation in slots}
    told = [(Fact(*slot, value), random.integers(4)) for slot, value in values.items()][:sentences]
    main, way = random.choice(told)
    told.insert(random.integers(len(told) + 1), (main, (way + 1 + random.integers(3)) % 4))
    return {"told": told}


def _twice(told):
    """Find the fact that is told twice; return ([its two wordings], the fact)."""
    facts = [fact for fact, _ in told]
    main = next(fact for fact in facts if facts.count(fact) == 2)
    return [way for fact, way in told if fact == main], main


def _labels(told):
    ways, main = _twice(told)
    return {"main": list(main[:3]), "ways": ways, "sentences": len(told) - 1}


def _count(world, prompt):
    """Solve independently: count how often each true fact is told."""
    told: Counter = Counter()
    for sentence in prompt.removesuffix(". In short:").split(". "):
        found = {fact for fact, _ in read_statements(f"{sentence}.") if fact.relation in VALUES}
        told.update(fact for fact in found if fact in world.known)
    [(main, _)] = told.most_common(1)
    return STATEMENTS[main.relation][0].format(s=main.subject, o=main.object)


@asks("{told} In short:", slots={"told": passage(*VALUES)}, group="understanding", marker="",
      draw=_draw, second=_count, labels=_labels,
      splits={"entity": lambda d: d.labels["main"][0]},
      Dials=dials(sentences=setting(4, help="how many facts the passage has", min=1, max=9)))
def summary(told: list) -> str:
    """Sum up a passage in one sentence: the fact that the passage states twice."""
    _, main = _twice(told)
    return say(main)
