"""State facts about people; a model has to learn these facts by heart."""

from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.phrases import read_statements, say
from tinyllm.world.world import World

RELATIONS = ("lives_in", "born_in", "works_as", "likes", "enjoys", "owns", "best_friend", "married_to")


@cache
def _told(world):
    """Return for each person the facts of RELATIONS, in the order of the people."""
    return [[f for r in RELATIONS for f in world.ask(Fact(p.name, r, None))] for p in world.people]


class Facts(Kind):
    """State one fact about a person; some people are named more often than others."""

    group = "knowledge"
    splits = {"entity": lambda document: document.labels["subject"]}

    class Dials:
        groups: int = setting(1, help="groups of people, each named twice as often as the last", min=1, max=7)
        ways: int = setting(4, help="how many ways to say a fact", min=1, max=4)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Write a fact about a random person: person i is in group g = i % groups, which has weight 2**g."""
        people = _told(world)
        group = (random.integers(2**dials.groups - 1) + 1).bit_length() - 1
        person = random.choice(range(group, len(people), dials.groups))
        fact = random.choice(people[person])
        return self._said(fact, random.integers(dials.ways))

    def _said(self, fact, way):
        text = say(fact, way)
        end = text.removesuffix(".").rfind(str(fact.object))
        at_end = end + len(str(fact.object)) + 1 == len(text)
        labels = {"subject": fact.subject, "relation": fact.relation, "object": fact.object, "way": way}
        return Document(text, labels, str(fact.object), prompt=text[: end - 1] if at_end else "")

    def read(self, world: World, text: str) -> Document | None:
        """Return the document of a statement, or None if the text states no fact of this world."""
        for fact, way in read_statements(text):
            if fact.relation in RELATIONS and fact in world.known() and say(fact, way) == text:
                return self._said(fact, way)
        return None

    def solve(self, world: World, document: Document) -> str:
        """Find the answer by searching all facts for the subject and the relation."""
        labels = document.labels
        pairs = [(f.subject, f.relation, f.object) for f in world.facts()]
        objects = [o for s, r, o in pairs if (s, r) == (labels["subject"], labels["relation"])]
        return str(objects[-1])
