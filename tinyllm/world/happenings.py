"""Write and read the events of word problems: two people find, lose and give things."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES, Form, Shape, read_any

WAYS = {  # event -> three ways to say it; {n} is "3 kites"
    "gain": ("{a} finds {n}.", "{a} buys {n}.", "At the fair, {a} wins {n}."),
    "loss": ("{a} loses {n}.", "{a} sells {n}.", "The wind takes {n} from {a}."),
    "gift": ("{a} gives {n} to {b}.", "{b} gets {n} from {a}.", "{a} passes {n} on to {b}."),
    "start": ("{a} has {n}.",),
}
MANY = {thing: "scarves" if thing == "scarf" else thing + "s" for thing in names.THINGS}
ONE = {many: one for one, many in MANY.items()} | {one: one for one in MANY}
COUNT = Shape(
    r"\d{1,4} [a-z]+",
    lambda count: f"{count[0]} {count[1] if count[0] == 1 else MANY[count[1]]}",
    lambda text: (int(text.split()[0]), ONE[text.split()[1]]),
)
FORMS = {(kind, way): Form(text, a=FIRST_NAMES, b=FIRST_NAMES, n=COUNT)
         for kind, ways in WAYS.items() for way, text in enumerate(ways)}


def _say(story):
    """Write a story: what two people had, then its events [kind, person 0 or 1, number, wording]."""
    people, starts = story["people"], [["start", i, n, 0] for i, n in enumerate(story["had"])]
    return " ".join(
        FORMS[kind, way].say(a=people[who], b=people[1 - who], n=(n, story["thing"]))
        for kind, who, n, way in [*starts, *story["events"]]
    )


def _read(text):
    sentences = [f"{sentence}." for sentence in text.removesuffix(".").split(". ")]
    found = [read_any(list(FORMS.values()), sentence) for sentence in sentences]
    told = [(*list(FORMS)[i], values) for i, values in filter(None, found)]
    people, events = [values["a"] for _, _, values in told[:2]], told[2:]
    return {
        "people": people,
        "thing": told[0][2]["n"][1],
        "had": [values["n"][0] for _, _, values in told[:2]],
        "events": [[kind, people.index(values["a"]), values["n"][0], way] for kind, way, values in events],
    }


def last_event(random: Random, now: list[int], largest: int) -> list:
    """Draw an event after which two people have `now` things; before it, each had 1 to `largest`."""
    possible = []
    for who in (0, 1):
        less, more, gone = now[who] - 1, largest - now[who], now[1 - who] - 1
        possible += [("gain", who, less), ("loss", who, more), ("gift", who, min(more, gone))]
    kind, who, most = random.choice([event for event in possible if event[2] > 0])
    return [kind, who, 1 + random.integers(most), random.integers(len(WAYS[kind]))]


def changes(event: Any) -> list[tuple[int, int]]:
    """Return [(person, change of the count)] for an event (kind, person, number, wording)."""
    kind, who, n, _ = event
    return {"gain": [(who, n)], "loss": [(who, -n)], "gift": [(who, -n), (1 - who, n)]}[kind]


STORY = Shape(r".+?\.", _say, _read)
