"""Word problems: two people find, lose and give things; how many are there in the end?"""

import re
from dataclasses import dataclass
from functools import cache

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

WAYS = {  # event -> three ways to say it; {n} is "3 kites"
    "gain": ("{a} finds {n}.", "{a} buys {n}.", "At the fair, {a} wins {n}."),
    "loss": ("{a} loses {n}.", "{a} sells {n}.", "The wind takes {n} from {a}."),
    "gift": ("{a} gives {n} to {b}.", "{b} gets {n} from {a}.", "{a} passes {n} on to {b}."),
}
START = "{a} has {n}."
BOTH = "both"
MANY = {thing: "scarves" if thing == "scarf" else thing + "s" for thing in names.THINGS}
ONE = {many: one for one, many in MANY.items()} | {one: one for one in MANY}


class WordProblem(Kind):
    """Keep count of the things of two people, with or without the steps in between."""

    group = "reasoning"
    marker = "answer: "
    splits = {
        "template": lambda document: _template(**document.labels),
        "people": lambda document: sorted(document.labels["people"]),
        "text": lambda document: document.prompt,
    }

    @dataclass(frozen=True)
    class Dials:
        events: int = setting(3, help="how often something is found, lost or given", min=1, max=8)
        largest: int = setting(20, help="the most things that anybody has", min=3, max=999)
        steps: bool = setting(False, help="say after each event how many things there are")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Draw how many things both have in the end, and go back in time from there."""
        people = [random.choice(world.people).first for _ in range(2)]
        while people[0] == people[1]:
            people[1] = random.choice(world.people).first
        events: list[list] = []
        now = [1 + random.integers(dials.largest) for _ in people]
        for _ in range(dials.events):
            event = _last_event(random, now, dials.largest)
            events.insert(0, event)
            for who, change in _changes(event):
                now[who] -= change
        asked = random.choice([*people, *people, BOTH])
        return self._document(people, random.choice(names.THINGS), now, events, asked, dials.steps)

    def _document(self, people, thing, had, events, asked, steps):
        """Write it down, or return None if somebody would have nothing left."""
        said = [START.format(a=who, n=_count(n, thing)) for who, n in zip(people, had, strict=True)]
        now, work = list(had), []
        for event in events:
            kind, who, n, way = event
            said.append(WAYS[kind][way].format(a=people[who], b=people[1 - who], n=_count(n, thing)))
            for person, change in _changes(event):
                sign, before = "+" if change > 0 else "-", now[person]
                now[person] += change
                if n < 1 or now[person] < 1:
                    return None
                work.append(f"{people[person]} {before} {sign} {n} = {now[person]}.")
        if asked == BOTH:
            work.append(f"{now[0]} + {now[1]} = {sum(now)}.")
        truth = str(sum(now) if asked == BOTH else now[people.index(asked)])
        question = "do they have together" if asked == BOTH else f"does {asked} have now"
        labels = {"people": people, "thing": thing, "had": had, "events": events, "asked": asked}
        prompt = f"{' '.join(said)} How many {MANY[thing]} {question}?"
        return self.asked(prompt, truth, labels, " ".join(work) + " " if steps else "")

    def read(self, world: World, text: str) -> Document | None:
        story, _, question = text.partition(" How many ")
        found = [_read(sentence) for sentence in _sentences(story)]
        if len(found) < 3 or None in found or [event[0] for event in found[:2]] != ["start", "start"]:
            return None
        people, thing = [start[1] for start in found[:2]], ONE.get(found[0][3])
        if thing is None or people[0] == people[1] or any(event[1] not in people for event in found):
            return None
        if not set(people) <= _first_names(world):
            return None
        events = [[kind, people.index(a), n, way] for kind, a, n, _, way in found[2:] if kind != "start"]
        asked = next((who for who in people if f"does {who} have" in question), BOTH)
        document = self._document(
            people, thing, [start[2] for start in found[:2]], events, asked, self.marker in question
        )
        return document if document and document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Keep books of what is asked for: all that came in, less all that went out."""
        story, _, question = document.prompt.partition(" How many ")
        total, people = 0, document.labels["people"]
        asked = people if "together" in question else [question.split()[2]]
        for kind, who, n, _, _ in map(_read, _sentences(story)):
            other = people[who == people[0]]
            comes_to = other if kind == "gift" else who if kind in ("start", "gain") else None
            goes_from = who if kind in ("gift", "loss") else None
            total += n * ((comes_to in asked) - (goes_from in asked))
        return str(total)

    def chance(self, dials: Dials) -> float:
        """Return the probability of `largest`: counts are uniform, a fifth of questions is for the sum."""
        n = dials.largest
        return 4 / 5 / n + (n - 1) / n**2 / 5


def _template(people, thing, events, asked, had):
    """Return what is told of what, without names and numbers."""
    return [thing, asked == BOTH or people.index(asked), *(event[:2] for event in events)]


def _count(n, thing):
    return f"{n} {thing if n == 1 else MANY[thing]}"


def _changes(event):
    """Return [(who, how many more)] for an event (kind, who, number, way)."""
    kind, who, n, _ = event
    return {"gain": [(who, n)], "loss": [(who, -n)], "gift": [(who, -n), (1 - who, n)]}[kind]


def _last_event(random, now, largest):
    """Draw an event after which the counts are `now`, and before which they were from 1 to `largest`."""
    possible = []
    for who in (0, 1):
        less, more, gone = now[who] - 1, largest - now[who], now[1 - who] - 1
        possible += [("gain", who, less), ("loss", who, more), ("gift", who, min(more, gone))]
    kind, who, most = random.choice([event for event in possible if event[2] > 0])
    return [kind, who, 1 + random.integers(most), random.integers(len(WAYS[kind]))]


def _sentences(story):
    return [sentence + "." for sentence in story.removesuffix(".").split(". ")]


@cache
def _first_names(world):
    return {person.first for person in world.people}


@cache
def _patterns():
    found = []
    for kind, ways in {**WAYS, "start": (START,)}.items():
        for way, text in enumerate(ways):
            pattern = text.replace(".", r"\.")
            for gap, group in (("{a}", "(?P<a>[A-Z][a-z]+)"), ("{b}", "(?P<b>[A-Z][a-z]+)"),
                               ("{n}", "(?P<n>[0-9]{1,4}) (?P<thing>[a-z]+)")):  # fmt: skip
                pattern = pattern.replace(gap, group)
            found.append((re.compile(pattern), kind, way))
    return found


def _read(sentence):
    """Return (kind, who, number, word for the thing, way) of a sentence, or None."""
    for pattern, kind, way in _patterns():
        if found := pattern.fullmatch(sentence):
            return kind, found["a"], int(found["n"]), found["thing"], way
    return None
