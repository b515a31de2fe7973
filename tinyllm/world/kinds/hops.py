"""Hops: relations between people that are followed one after the other."""

from dataclasses import dataclass
from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import HELD_OUT, Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.world import World

PEOPLE = names.GIRLS + names.BOYS
RELATIONS = ("teacher", "doctor", "baker", "tailor", "neighbour", "rival", "hero", "boss")


@cache
def permutations(seed: int) -> dict[str, dict[str, str]]:
    """Return {relation: {person: whom the relation leads to}} of the world with this seed.

    Each relation is one cycle through all people: everybody has one baker, is the baker of one, and never
    the own one.
    """
    found = {}
    for relation in RELATIONS:
        ring = Random(seed, "hops", relation).shuffle(PEOPLE)
        found[relation] = dict(zip(ring, ring[1:] + ring[:1], strict=True))
    return found


def relation_facts(world: World) -> list[Fact]:
    """Return all facts that the questions are about, such as baker(Mia, Tom): the baker of Mia is Tom."""
    links = permutations(world.config.seed)
    return [Fact(who, relation, links[relation][who]) for relation in RELATIONS for who in PEOPLE]


@cache
def _held_out(first, second, person):
    """Return True for a fifth of all pairs of steps from a person."""
    return Random("hops", first, second, person).integers(1000) < 1000 * HELD_OUT


def _chain(document):
    """Hold a question out if two steps of it in a row are held out; single steps never are."""
    steps, path = document.labels["relations"], document.labels["path"]
    return any(_held_out(*two) for two in zip(steps, steps[1:], path, strict=False))


class Hops(Kind):
    """Follow one to three relations from a person, such as the baker of the doctor of Mia."""

    group = "reasoning"
    marker = "then "
    splits = {
        "chain": _chain,
        "relations": lambda document: document.labels["relations"],
        "person": lambda document: document.labels["path"][0],
    }

    @dataclass(frozen=True)
    class Dials:
        hops: int = setting(2, help="how many relations are followed", min=1, max=3)
        steps: bool = setting(False, help="name the people on the way")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        relations = [random.choice(RELATIONS) for _ in range(dials.hops)]
        return self._document(world, random.choice(PEOPLE), relations, dials.steps)

    def _document(self, world, person, relations, steps):
        links, path = permutations(world.config.seed), [person]
        for relation in relations:
            path.append(links[relation][path[-1]])
        prompt = f"{' '.join(f'{relation} of' for relation in reversed(relations))} {person} ?"
        work = " then ".join(path[1:-1]) + " " if steps and len(path) > 2 else ""
        return self.asked(prompt, path[-1], {"relations": relations, "path": path[:-1]}, work)

    def read(self, world: World, text: str) -> Document | None:
        asked, _, answer = text.partition(" ?")
        *relations, person = asked.split(" of ")
        if person not in PEOPLE or not 1 <= len(relations) <= 3 or any(r not in RELATIONS for r in relations):
            return None
        document = self._document(world, person, relations[::-1], self.marker in answer)
        return document if document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Try every person as the answer: walk back from there by a search through the facts."""
        *relations, person = document.prompt.removesuffix(" ?").split(" of ")
        back = _backwards(world)
        for answer in PEOPLE:
            at = answer
            for relation in relations:
                at = back[relation, at]
            if at == person:
                return answer
        return ""

    def chance(self, dials: Dials) -> float:
        return 1 / len(PEOPLE)


@cache
def _backwards(world):
    return {(fact.relation, fact.object): fact.subject for fact in relation_facts(world)}
