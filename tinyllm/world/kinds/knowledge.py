"""What a model must know by heart: statements of facts, and questions without a text to look in."""

from dataclasses import dataclass
from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.names import FAMILIES, GIRLS
from tinyllm.world.phrases import QUESTIONS, ask, read_statements, say
from tinyllm.world.world import World

RELATIONS = ("lives_in", "born_in", "works_as", "likes", "enjoys", "owns", "best_friend", "married_to")
HOPS = ("mother", "father", "best_friend", "married_to")  # relations from a person to a person
NOBODY = "Nobody knows"


@cache
def _told(world):
    """Return for each person the facts of RELATIONS, in the order of the people."""
    return [[f for r in RELATIONS for f in world.ask(Fact(p.name, r, None))] for p in world.people]


class Facts(Kind):
    """State one fact about a person; some people are spoken of more often than others."""

    group = "knowledge"
    splits = {"entity": lambda document: document.labels["subject"]}

    @dataclass(frozen=True)
    class Dials:
        """Set how often each person occurs, and in how many phrasings."""

        groups: int = setting(1, help="groups of people, each named twice as often as the last", min=1, max=7)
        ways: int = setting(4, help="how many ways to say a fact", min=1, max=4)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Write a statement. Person number i is in group i % groups, and has the weight 2**group."""
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
        """Return the document of a statement that is about a fact of this world."""
        for fact, way in read_statements(text):
            if fact.relation in RELATIONS and fact in world.known():
                return self._said(fact, way)
        return None

    def solve(self, world: World, document: Document) -> str:
        """Look through all facts for the subject and the relation."""
        labels = document.labels
        pairs = [(f.subject, f.relation, f.object) for f in world.facts()]
        objects = [o for s, r, o in pairs if (s, r) == (labels["subject"], labels["relation"])]
        return str(objects[-1])


class Question(Kind):
    """Ask for a fact that must be known by heart, or for one at the end of a chain of people."""

    group = "knowledge"
    marker = "Answer: "
    splits = {"entity": lambda document: document.labels["subject"],
              "chain": lambda document: [document.labels["subject"], document.labels["chain"]]}  # fmt: skip

    @dataclass(frozen=True)
    class Dials:
        """Set how far away the answer is, and if there is one."""

        hops: int = setting(1, help="facts on the way to the answer", min=1, max=3)
        steps: bool = setting(False, help="say the facts on the way before the answer")
        unknown: float = setting(0.0, help="share of questions about people whom nobody knows", min=0, max=1)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Draw a person, a chain of hops - 1 people from there, and what is asked about the last."""
        if random.happens(dials.unknown):
            stranger = self._stranger(world, random)
            return self._asked(world, stranger, [], random.choice(RELATIONS), dials.steps)
        while True:
            chain, person = [], random.choice(world.people).name
            start = person
            for _ in range(dials.hops - 1):
                chain.append(random.choice(HOPS))
                found = world.ask(Fact(person, chain[-1], None))
                person = str(found[0].object) if found else ""
            relation = random.choice(RELATIONS)
            if world.ask(Fact(person, relation, None)):
                return self._asked(world, start, chain, relation, dials.steps)

    def _stranger(self, world, random):
        while True:
            name = f"{random.choice(GIRLS)} {random.choice(FAMILIES)}"
            if name not in world.names:
                return name

    def _asked(self, world, subject, chain, relation, steps):
        """Return the document of a question; the supporting sentences are in its labels."""
        person, support = subject, []
        for hop in [*chain, relation]:
            found = world.ask(Fact(person, hop, None))
            if found:
                support.append(say(found[0]))
                person = str(found[0].object)
        who = "".join(f"the {_WORDS[hop]} of " for hop in reversed(chain)) + subject
        labels = {"subject": subject, "chain": chain, "relation": relation, "support": support}
        worked = " ".join(support[:-1]) + " " if steps and support[:-1] else ""
        truth = person if support else NOBODY
        return self.asked(ask(Fact(who, relation, None)), truth, labels, worked)

    def read(self, world: World, text: str) -> Document | None:
        """Return the document of a question and its answer."""
        question, mark, answer = text.partition("?")
        for relation, pattern in QUESTIONS.items():
            before, _, after = pattern.removesuffix("?").partition("{s}")
            if mark and question.startswith(before) and question.endswith(after) and relation in RELATIONS:
                who = question[len(before) : len(question) - len(after)]
                *words, subject = who.split(" of ")
                chain = [_RELATIONS.get(word.removeprefix("the "), "") for word in reversed(words)]
                if "" not in chain:
                    document = self._asked(world, subject, chain, relation, self.marker in answer)
                    return document if document.text == text else None
        return None

    def solve(self, world: World, document: Document) -> str:
        """Follow the chain through the list of all facts, without the index."""
        facts = world.facts()
        person = document.labels["subject"]
        for hop in [*document.labels["chain"], document.labels["relation"]]:
            found = [fact.object for fact in facts if fact.subject == person and fact.relation == hop]
            if not found:
                return NOBODY
            person = str(found[0])
        return person


_WORDS = {"mother": "mother", "father": "father", "best_friend": "best friend", "married_to": "partner"}
_RELATIONS = {word: relation for relation, word in _WORDS.items()}
