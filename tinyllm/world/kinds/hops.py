"""Ask multi-hop questions: follow one to three relations from a person, one after the other."""

from functools import cache

from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import HELD_OUT
from tinyllm.world.forms import Shape
from tinyllm.world.question import asks, dials
from tinyllm.world.world import World

PEOPLE = names.GIRLS + names.BOYS
RELATIONS = ("teacher", "doctor", "baker", "tailor", "neighbour", "rival", "hero", "boss")


@cache
def permutations(seed: int) -> dict[str, dict[str, str]]:
    """Return {relation: {person: related person}} for a world's seed; each relation is one cycle of all."""
    found = {}
    for relation in RELATIONS:
        ring = Random(seed, "hops", relation).shuffle(PEOPLE)
        found[relation] = dict(zip(ring, ring[1:] + ring[:1], strict=True))
    return found


def _chain(document):
    """Return True if a question has one of the fifth of all (relation, next relation, person) held out."""
    steps, path = document.labels["relations"], document.labels["path"]
    twos = zip(steps, steps[1:], path, strict=False)
    return any(Random("hops", *two).integers(1000) < 1000 * HELD_OUT for two in twos)


def _path(world, person, relations):
    """Follow relations from a person; return all people on the way, beginning with this person."""
    path = [person]
    for relation in relations:
        path.append(permutations(world.config.seed)[relation][path[-1]])
    return path


@cache
def _backwards(world):
    links = permutations(world.config.seed)
    return {(relation, to): who for relation in RELATIONS for who, to in links[relation].items()}


def _search(world, person, relations):
    """Solve independently: for every possible answer, follow the relations backwards to the first person."""
    for answer in PEOPLE:
        at = answer
        for relation in reversed(relations):
            at = _backwards(world)[relation, at]
        if at == person:
            return answer
    return ""


STEPS = Shape(r"\w+(?: of \w+){0,2}", lambda steps: " of ".join(steps[::-1]), lambda t: t.split(" of ")[::-1])


@asks("{relations} of {person} ?", slots={"relations": STEPS, "person": PEOPLE}, group="reasoning",
      marker="then ", options=len(PEOPLE), second=_search,
      draw=lambda random, hops: {"relations": [random.choice(RELATIONS) for _ in range(hops)],
                                 "person": random.choice(PEOPLE)},
      working=lambda world, person, relations: " then ".join(_path(world, person, relations)[1:-1]),
      labels=lambda world, person, relations: {"relations": relations,
                                               "path": _path(world, person, relations)[:-1]},
      splits={"chain": _chain},
      Dials=dials(hops=(2, "how many relations are followed", 1, 3),
                  steps=(False, "name the people on the way")))
def hops(world: World, person: str, relations: list[str]) -> str:
    """Follow one to three relations from a person, such as the baker of the doctor of Mia."""
    return _path(world, person, relations)[-1]
