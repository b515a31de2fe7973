"""Reading: a question to be answered from a passage, and the main point of one."""

import itertools
from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact, Facts
from tinyllm.world.forms import FIRST_NAMES, VALUES, grown_ups, proved
from tinyllm.world.names import FOODS
from tinyllm.world.phrases import QUESTIONS, STATEMENTS, ask, read_statements, say
from tinyllm.world.world import World

FRIEND = "the best friend of "
NOBODY = "Nobody knows"


def _read_all(passage):
    """Return the first reading (fact, way) of every sentence, or None if one says nothing of VALUES."""
    found = []
    for sentence in passage.removesuffix(".").split(". "):
        readings = [r for r in read_statements(sentence + ".") if r[0].relation in (*VALUES, "best_friend")]
        found += readings[:1] or [None]
    return found if all(found) else None


class Reading(Kind):
    """Answer a question from a passage about three people, in which the answer may be missing."""

    group = "understanding"
    splits = {
        "combination": lambda document: document.labels["asked"],
        "answer": lambda document: [document.labels["asked"][1], document.truth],
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how long the passage is, how far away the answer, and if there is one."""

        sentences: int = setting(4, help="how many sentences the passage has", min=2, max=9)
        hops: int = setting(1, help="sentences that the answer needs, up to a friend's fact", min=1, max=2)
        unknown: float = setting(
            0.2, help="share of questions that the passage does not answer", min=0, max=0.9
        )

    def chance(self, dials: Dials) -> float:
        return max(dials.unknown, (1 - dials.unknown) / (len(VALUES) * len(FOODS)))

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        people: list[str] = []
        while len(people) < 3:
            first = random.choice(world.people).first
            people += [first] if first not in people else []
        slots = random.shuffle(itertools.product(people, VALUES))
        asked, friend = slots[0], people[1] if slots[0][0] == people[0] else people[0]
        told = slots[1 : dials.sentences + 1]
        if not random.happens(dials.unknown):
            told = slots[: dials.sentences]
        facts = [Fact(person, relation, random.choice(VALUES[relation])) for person, relation in told]
        if dials.hops == 2:
            facts[-1] = Fact(friend, "best_friend", asked[0])
        facts = random.shuffle(facts)
        subject = FRIEND + friend if dials.hops == 2 else asked[0]
        return self._document([(fact, random.integers(4)) for fact in facts], subject, asked[1])

    def read(self, world: World, text: str) -> Document | None:
        passage = text.partition("? ")[0]
        passage, end, question = passage.rpartition(". ")
        readings = _read_all(passage)
        for relation in VALUES if end and readings else ():
            before, _, after = QUESTIONS[relation].partition("{s}")
            if question.startswith(before) and (question + "?").endswith(after):
                subject = (question + "?")[len(before) :].removesuffix(after)
                return proved(self, world, self._document(readings, subject, relation), text)
        return None

    def solve(self, world: World, document: Document) -> str:
        """Try all people and relations: which is asked for, and what do the facts of the passage say?"""
        passage, _, question = document.prompt.rpartition(". ")
        told = Facts(fact for fact, _ in _read_all(passage) or ())
        for person, relation in itertools.product(FIRST_NAMES, VALUES):
            found = told.find(Fact(person, relation, None))
            if ask(Fact(person, relation, None)) == question:
                return str(found[0].object) if found else NOBODY
            if ask(Fact(FRIEND + person, relation, None)) == question:
                friends = told.find(Fact(person, "best_friend", None))
                found = [
                    fact for friend in friends for fact in told.find(Fact(friend.object, relation, None))
                ]
                return str(found[0].object) if found else NOBODY if friends else ""
        return ""

    def _document(self, told, subject, relation):
        number = {(fact.subject, fact.relation): i for i, (fact, _) in enumerate(told)}
        support, person = [], subject.removeprefix(FRIEND)
        if subject != person:
            support.append(number.get((person, "best_friend"), 0))
            person = told[support[0]][0].object
        answered = (person, relation) in number
        support = [*support, number[person, relation]] if answered else []
        truth = told[support[-1]][0].object if answered else NOBODY
        passage = " ".join(say(fact, way) for fact, way in told)
        labels = {"asked": [subject, relation], "support": [i + 1 for i in support], "known": answered}
        return self.asked(f"{passage} {ask(Fact(subject, relation, None))}", truth, labels)


MARKS = ("Above all: ", "The great news: ", "Mark this: ", "Listen well: ")


class Summary(Kind):
    """Say in one plain sentence what matters most in a passage."""

    group = "understanding"
    splits = {
        "entity": lambda document: document.labels["main"][0],
        "wording": lambda document: [document.labels["main"][1], document.labels["way"]],
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how long the passage is."""

        sentences: int = setting(4, help="how many sentences the passage has", min=1, max=9)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        first, second = random.choice(grown_ups(world)), random.choice(grown_ups(world))
        slots = random.shuffle(itertools.product((first, second), VALUES))
        told = {(person.name, relation): getattr(person, relation) for person, relation in slots}
        facts = [Fact(*slot, value) for slot, value in told.items()][: dials.sentences]
        return self._document([(fact, random.integers(4)) for fact in facts], random.integers(len(facts)),
                              random.choice(MARKS))  # fmt: skip

    def read(self, world: World, text: str) -> Document | None:
        passage, short, _ = text.partition(" In short:")
        for mark in MARKS:
            before, found, after = passage.partition(mark)
            readings = _read_all(before + after)
            if short and found and readings:
                return proved(self, world, self._document(readings, before.count(". "), mark), text)
        return None

    def solve(self, world: World, document: Document) -> str:
        """Read the marked sentence, keep the reading that is true in the world, and say it plainly."""
        passage = document.prompt.removesuffix(" In short:")
        marked = next(passage.partition(mark)[2] for mark in MARKS if mark in passage)
        sentence = marked.partition(". ")[0].removesuffix(".") + "."
        for fact, _ in read_statements(sentence):
            if fact.relation in VALUES and world.holds(fact):
                return STATEMENTS[fact.relation][0].format(s=fact.subject, o=fact.object)
        return ""

    def _document(self, told, main, mark):
        said = [(mark if i == main else "") + say(fact, way) for i, (fact, way) in enumerate(told)]
        fact, way = told[main]
        labels = {"main": list(fact[:3]), "way": way, "sentences": len(told)}
        return self.asked(f"{' '.join(said)} In short:", say(fact), labels)
