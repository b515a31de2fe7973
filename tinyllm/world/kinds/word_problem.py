"""Write word problems: two people find, lose and give things; how many are there in the end?"""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES, Form, Shape, read_any
from tinyllm.world.question import asks, dials

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
COMES, GOES = {("gain", True), ("gift", False)}, {("loss", True), ("gift", True)}  # event, is it the subject?
BOTH = "both"


def _draw(world, random, dials):
    """Draw a story backwards: first the counts at the end, then the events that led to them."""
    people = [random.choice(world.people).first for _ in range(2)]
    while people[0] == people[1]:
        people[1] = random.choice(world.people).first
    events: list[list] = []
    now = [1 + random.integers(dials.largest) for _ in people]
    for _ in range(dials.events):
        event = last_event(random, now, dials.largest)
        events.insert(0, event)
        for who, change in changes(event):
            now[who] -= change
    asked, thing = random.choice([*people, *people, BOTH]), random.choice(names.THINGS)
    story = {"people": people, "thing": thing, "had": now, "events": events}
    return {"story": story, "many": MANY[thing], "who": asked, "way": int(asked == BOTH)}


def _follow(story, who=BOTH):
    """Follow a story; return (calculations, result)."""
    people, now, work = story["people"], list(story["had"]), []
    for event in story["events"]:
        for person, change in changes(event):
            before = now[person]
            now[person] += change
            sign = "+" if change > 0 else "-"
            work.append(f"{people[person]} {before} {sign} {event[2]} = {now[person]}.")
    if who == BOTH:
        return [*work, f"{now[0]} + {now[1]} = {sum(now)}."], sum(now)
    return work, now[people.index(who)]


def _keep_books(story, who=BOTH):
    """Solve independently: what the people asked about had at first, plus gains, less losses."""
    total = 0
    for i, person in enumerate(story["people"]):
        if who in (person, BOTH):
            total += story["had"][i]
            total += sum(n for kind, by, n, _ in story["events"] if (kind, by == i) in COMES)
            total -= sum(n for kind, by, n, _ in story["events"] if (kind, by == i) in GOES)
    return str(total)


def _chance(dials):
    """Return the score of always answering `largest`: counts are uniform; 1 in 5 questions asks for a sum."""
    n = dials.largest
    return 4 / 5 / n + (n - 1) / n**2 / 5


@asks("{story} How many {many} does {who} have now?", "{story} How many {many} do they have together?",
      slots={"story": STORY, "who": FIRST_NAMES}, group="reasoning", chance=_chance,
      draw=_draw, second=_keep_books, working=lambda story, who=BOTH: " ".join(_follow(story, who)[0]),
      labels=lambda story, who=BOTH: {**story, "asked": who},
      splits={"template": lambda d: _template(**d.labels)},
      Dials=dials(events=(3, "how often something is found, lost or given", 1, 8),
                  largest=(20, "the most things that anybody has", 3, 999),
                  steps=(False, "say after each event how many things there are")))
def word_problem(story: dict, who: str = BOTH) -> str:
    """Count the things that two people have in the end, with or without the steps in between."""
    return str(_follow(story, who)[1])


def _template(people, thing, events, asked, had):
    """Return a problem without its names and numbers, the key by which problems are held out."""
    return [thing, asked == BOTH or people.index(asked), *(event[:2] for event in events)]
