"""Questions with passages to answer from: the answer names its source."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.phrases import QUESTIONS, ask, read_statements, say
from tinyllm.world.world import World

RELATIONS = ("lives_in", "born_in", "works_as", "likes", "enjoys", "best_friend")
NOWHERE = "not said [0]"


@cache
def _known(world):
    """Return {person: {relation: object}}, and {person: people with the same first or family name}."""
    facts: dict[str, dict] = {person.name: {} for person in world.adults}
    for fact in world.facts():
        if fact.subject in facts and fact.relation in RELATIONS:
            facts[fact.subject][fact.relation] = fact.object
    alike = {
        p.name: [q.name for q in world.adults if (q.first == p.first) != (q.last == p.last)]
        for p in world.adults
    }
    return facts, alike


class Retrieval(Kind):
    """Answer a question from numbered passages and name the source, or say that none of them answers it."""

    group = "retrieval"
    splits: ClassVar = {
        "entity": lambda document: document.labels["subject"],
        "source": lambda document: document.labels["source"] == 2,
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how many passages there are, and how many of them mislead."""

        passages: int = setting(3, help="passages to read", min=1, max=12)
        wrong: float = setting(
            0.5, help="share of other passages that mislead: near in name or subject", min=0, max=1
        )
        missing: float = setting(0.2, help="share of questions that no passage answers", min=0, max=0.9)
        false: float = setting(0.0, help="share of answers that passages get wrong", min=0, max=1)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Draw a question, passages that do not answer it, and one that does in a place among them."""
        facts, _ = _known(world)
        subject, relation = random.choice(world.adults).name, random.choice(RELATIONS)
        source = 0 if random.happens(dials.missing) else 1 + random.integers(dials.passages)
        passages = []
        for place in range(1, dials.passages + 1):
            if place == source:
                who = random.choice(world.adults).name if random.happens(dials.false) else subject
                fact = Fact(subject, relation, facts[who][relation])
            else:
                fact = self._other(world, random, subject, relation, random.happens(dials.wrong))
            passages.append((fact, random.integers(4)))
        return self._document(world, subject, relation, passages)

    def _other(self, world, random, subject, relation, misleads):
        """Return a fact that does not answer the question, but looks as if, if it misleads."""
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

    def _document(self, world, subject, relation, passages):
        """Return the document of a question with these passages, each a fact and a way to say it."""
        shown = " ".join(f"[{i}] {say(*passage)}" for i, passage in enumerate(passages, 1))
        places = [i for i, (fact, _) in enumerate(passages, 1) if fact[:2] == (subject, relation)]
        right = _known(world)[0][subject][relation]
        source = places[0] if places else 0
        told = passages[source - 1][0].object if places else right
        truth = f"{told} [{source}]" if places else NOWHERE
        labels = {
            "subject": subject,
            "relation": relation,
            "source": source,
            "right": right,
            "false": told != right,
        }
        return self.asked(f"{shown} {ask(Fact(subject, relation, None))}", truth, labels)

    def read(self, world: World, text: str) -> Document | None:
        """Read every passage as a fact, and then the question."""
        passages: list[tuple[Fact, int]] = []
        rest = f" {text}"
        while (mark := f" [{len(passages) + 1}] ") == rest[: len(mark)]:
            sentence, _, rest = rest[len(mark) :].partition(".")
            known = [
                (fact, way) for fact, way in read_statements(f"{sentence}.") if fact.subject in world.names
            ]
            if not known:
                return None
            passages.append(known[0])
        for relation in RELATIONS:
            before, _, after = QUESTIONS[relation].partition("{s}")
            question = rest.strip().partition("?")[0] + "?"
            subject = question.removeprefix(before).removesuffix(after)
            if passages and subject in world.names and ask(Fact(subject, relation, None)) == question:
                document = self._document(world, subject, relation, passages)
                return document if document.text == text else None
        return None

    def solve(self, world: World, document: Document) -> str:
        """Compare each passage with all that could be said about the person, true or not."""
        labels, passages = document.labels, document.prompt.split(" [")
        told = {facts[labels["relation"]] for facts in _known(world)[0].values()}
        for i, passage in enumerate(passages, 1):
            for object_ in sorted(one for one in told if one in passage):
                for way in range(4):
                    sentence = say(Fact(labels["subject"], labels["relation"], object_), way)
                    if f"] {sentence}" in passage:
                        return f"{object_} [{i}]"
        return NOWHERE

    def chance(self, dials: Dials) -> float:
        """Return the share of questions without an answer, of which the same is always said."""
        return float(dials.missing)
