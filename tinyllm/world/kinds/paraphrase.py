"""Paraphrase: one fact in two wordings, or two facts that look alike."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.forms import Form, proved
from tinyllm.world.phrases import STATEMENTS, read_statements, say
from tinyllm.world.world import World

RELATIONS = ("lives_in", "born_in", "works_as", "likes", "enjoys", "owns", "mother", "father", "best_friend")
LIKE = {"lives_in": "born_in", "born_in": "lives_in", "mother": "best_friend", "father": "best_friend",
        "best_friend": "mother", "likes": "enjoys", "enjoys": "likes"}  # fmt: skip
FORM = Form("{first} / {second} The same?")


class Paraphrase(Kind):
    """Tell if two sentences say the same fact."""

    group = "understanding"
    splits = {"wording": lambda d: [d.labels["relation"], sorted(d.labels["ways"])],
              "entity": lambda d: d.labels["subject"]}  # fmt: skip

    @dataclass(frozen=True)
    class Dials:
        """Set how different two facts look if they are not the same."""

        change: str = setting(
            "any",
            help="what differs: the person, the thing, the relation, or who is whose",
            choices=("any", "subject", "object", "relation", "roles"),
        )

    def chance(self, dials: Dials) -> float:
        return 0.5

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        person = random.choice(world.people)
        while True:
            relation = random.choice(RELATIONS)
            if hasattr(person, relation):
                fact = Fact(person.name, relation, getattr(person, relation))
                if other := self._other(world, random, fact, dials.change):
                    break
        if random.integers(2):  # only now, so that no relation gives the answer away
            other = fact
        way = random.integers(4)
        second = random.integers(3)  # another way than the first
        return self._pair(fact, way, other, second + (second >= way), "yes" if fact == other else "no")

    def _other(self, world, random, fact, change):
        """Return a fact that differs from a given one in one respect, or None if it cannot."""
        if change == "any":
            change = random.choice(["subject", "object", "relation", "roles"])
        subject, relation, object, _ = fact
        person = random.choice(world.people)
        if change == "subject" and person.name not in (subject, object):
            return Fact(person.name, relation, object)
        if change == "object" and getattr(person, relation, object) not in (subject, object):
            return Fact(subject, relation, getattr(person, relation))
        if change == "relation" and relation in LIKE:
            return Fact(subject, LIKE[relation], object)
        if change == "roles" and relation in ("mother", "father", "best_friend"):
            return Fact(object, relation, subject)
        return None

    def read(self, world: World, text: str) -> Document | None:
        prompt, _, answer = text.rpartition(" ")
        sentences = FORM.read(prompt)
        readings = [read_statements(sentence) for sentence in (sentences or {}).values()]
        for first, way in readings[0] if readings else ():
            for second, other in readings[1]:
                if first.relation in RELATIONS and second.relation in RELATIONS:
                    return proved(self, world, self._pair(first, way, second, other, answer), text)
        return None

    def solve(self, world: World, document: Document) -> str:
        """Fill the names of the first sentence into all four wordings, and look for the second among them."""
        first, second = (FORM.read(document.prompt) or {}).values()
        for fact, _ in read_statements(first):
            for wording in STATEMENTS[str(fact.relation)]:
                said = wording.format(s=fact.subject, o=fact.object)
                if second.replace(" an ", " a ").replace("An ", "A ").lower() == said.lower():
                    return "yes"
        return "no"

    def _pair(self, first, way, second, other, truth):
        prompt = FORM.say(first=say(first, way), second=say(second, other))
        labels = {"subject": first.subject, "relation": first.relation, "ways": [way, other]}
        return self.asked(prompt, truth, labels)
