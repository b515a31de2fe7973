"""Questions that are answered with a tool: a call in the text, its result, the answer."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.calendar import WEEKDAYS, Date
from tinyllm.world.document import Document, Kind
from tinyllm.world.facts import Fact
from tinyllm.world.names import words
from tinyllm.world.phrases import QUESTIONS, ask
from tinyllm.world.task import FIRST_NAMES, Fields, Task
from tinyllm.world.tools import CARD, call
from tinyllm.world.world import World

FRUITS = words("apples nuts cherries plums pears acorns kites lanterns buttons shells candles biscuits")


def _with_results(document):
    """Return a document whose labels say from where to where results stand: no model has to predict them."""
    text, spans, at = document.text, [], len(document.prompt)
    while (start := text.find("] => ", at)) >= 0:
        ends = [text.find(mark, start) for mark in (" [", " answer: ")]
        at = min(end for end in ends if end >= 0)
        spans.append([start + len("] => "), at])
    return replace(document, labels={**document.labels, "results": spans})


class _Tool(Task):
    """A question that a tool can answer; each of `forms` is (question, call, the answer from the fields)."""

    group = "tools"
    forms: ClassVar[tuple] = ()

    def write(self, world: World, random: Random, dials: Any) -> Document:
        """Draw a form, and the fields for it."""
        way = random.integers(len(self.forms))
        return self._tell(way, self.draw(world, random, dials), dials.steps)

    def _tell(self, way, fields, steps):
        _, form, function = self.forms[way]
        fields = {name: fields[name] for name in self._templates[way].shapes}
        truth = str(function(**fields))
        worked = f"[{form.format_map(fields)}] => {truth} " if steps else ""
        prompt = self._templates[way].say(fields)
        return _with_results(self.asked(prompt, truth, {"way": way, **fields}, worked))

    def solve(self, world: World, document: Document) -> str:
        """Call the tool."""
        way = document.labels["way"]
        fields = self._templates[way].match(document.prompt)
        return call(world, f"[{self.forms[way][1].format_map(fields)}]")


class Calculator(_Tool):
    """Solve a word problem with a calculator."""

    forms = (
        ("{name} packs {a:int} baskets with {b:int} {fruits} each. How many {fruits} are packed?",
         "calc {a} * {b}", lambda a, b, **_: a * b),
        ("{name} fills {a:int} boxes with {b:int} {fruits} each; {c:int} are left. How many are there?",
         "calc {a} * {b} + {c}", lambda a, b, c, **_: a * b + c),
        ("Of {a:int} bags with {b:int} {fruits} each {name} loses {c:int} {fruits}. How many come home?",
         "calc {a} * {b} - {c}", lambda a, b, c, **_: a * b - c),
        ("{name} has {a:int} {fruits}, finds {b:int} more and sells all at {c:int} pence. For how much?",
         "calc ({a} + {b}) * {c}", lambda a, b, c, **_: a * c + b * c),
        ("{name} shares {a:int} {fruits} fairly with {b:int} friends. How many {fruits} are left over?",
         "calc {a} % ({b} + 1)", lambda a, b, **_: a - a // (b + 1) * (b + 1)),
    )  # fmt: skip
    asks = tuple(form[0] for form in forms)
    splits: ClassVar = {
        "numbers": lambda document: [value for value in document.labels.values() if isinstance(value, int)],
        "form": lambda document: document.labels["way"] == 1,
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how large the numbers are, and if the calculator is used."""

        digits: int = setting(2, help="digits of the numbers at most", min=1, max=5)
        steps: bool = setting(True, help="call the calculator; else answer at once")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        """Draw a name, things and three numbers of 2 or more, the last at most the product of the others."""
        a, b, c = (2 + random.integers(10**dials.digits - 2) for _ in range(3))
        return {
            "name": random.choice(FIRST_NAMES),
            "fruits": random.choice(FRUITS),
            "a": a,
            "b": b,
            "c": min(a * b, c),
        }


class DateTool(_Tool):
    """Answer questions about dates with the calendar, whose months all have 30 days."""

    forms = (
        ("{name} was born on {a}. Which day of the week was it?", "weekday {a}",
         lambda a, **_: WEEKDAYS[Date.read(a).number % len(WEEKDAYS)]),
        ("{name} was born on {a} and learnt to swim on {b}. At an age of how many days?", "days {a} to {b}",
         lambda a, b, **_: _days(Date.read(a), Date.read(b))),
        ("{name} was born on {a} and learnt to walk {n:int} days later. On which date?", "after {a} + {n}",
         lambda a, n, **_: Date.of(Date.read(a).number + n)),
    )  # fmt: skip
    asks = tuple(form[0] for form in forms)
    splits: ClassVar = {
        "date": lambda document: document.labels["a"],
        "form": lambda document: document.labels["way"] == 1,
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how far dates lie apart, and if the calendar is used."""

        days: int = setting(600, help="days between two dates at most", min=1, max=7_000)
        steps: bool = setting(True, help="call the calendar; else answer at once")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        """Draw somebody who learns something some days after the birth."""
        one, n = random.choice(world.people), 1 + random.integers(dials.days)
        return {"name": one.name, "a": str(Date.of(one.born)), "b": str(Date.of(one.born + n)), "n": n}


def _days(start, end):
    """Return the days between two dates, counted by years, months and days."""
    return 360 * (end.year - start.year) + 30 * (end.month - start.month) + end.day - start.day


class Lookup(Kind):
    """Answer a question about a person with one or two look-ups in the encyclopaedia."""

    group = "tools"
    marker = "answer: "
    splits: ClassVar = {
        "entity": lambda document: document.labels["subject"],
        "chain": lambda document: [*document.labels["chain"], document.labels["relation"]],
    }

    @dataclass(frozen=True)
    class Dials:
        """Set how many look-ups are needed, and if they are made."""

        hops: int = setting(1, help="people to look up", min=1, max=3)
        steps: bool = setting(True, help="look it up; else answer at once")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Draw a person, friends or mothers on the way, and what is asked of the last."""
        while True:
            chain = [random.choice(list(HOPS)) for _ in range(dials.hops - 1)]
            subject, relation = random.choice(world.people).name, random.choice(list(CARD))
            if document := self._asked(world, subject, chain, relation, dials.steps):
                return document

    def _asked(self, world, subject, chain, relation, steps):
        """Return the document of a question, or None if the world has no answer."""
        person, worked = subject, ""
        for hop in [*chain, relation]:
            found = world.ask(Fact(person, hop, None))
            if not found:
                return None
            worked += f"[look {person}] => {call(world, f'[look {person}]')} "
            person = str(found[0].object)
        who = "".join(f"the {HOPS[hop]} of " for hop in reversed(chain)) + subject
        labels = {"subject": subject, "chain": chain, "relation": relation}
        prompt = ask(Fact(who, relation, None))
        return _with_results(self.asked(prompt, person, labels, worked if steps else ""))

    def read(self, world: World, text: str) -> Document | None:
        """Read the question, and write the document again."""
        question, mark, answer = text.partition("? ")
        for relation in CARD:
            before, _, after = QUESTIONS[relation].removesuffix("?").partition("{s}")
            if mark and question.startswith(before) and question.endswith(after):
                who = question[len(before) : len(question) - len(after)]
                *hops, subject = who.split(" of ")
                chain = [HOP_OF.get(hop.removeprefix("the "), "") for hop in reversed(hops)]
                document = self._asked(world, subject, chain, relation, self.marker in answer)
                if document and document.text == text:
                    return document
        return None

    def solve(self, world: World, document: Document) -> str:
        """Follow the titles through the entries of the encyclopaedia, as a reader does."""
        person = document.labels["subject"]
        for hop in [*document.labels["chain"], document.labels["relation"]]:
            entry = call(world, f"[look {person}]")
            person = entry.partition(f" {CARD[hop]}: ")[2].partition(".")[0]
        return person


HOPS = {"best_friend": "best friend", "mother": "mother"}
HOP_OF = {words: hop for hop, words in HOPS.items()}
