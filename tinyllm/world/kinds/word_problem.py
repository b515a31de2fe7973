"""Word problems: two people find, lose and give things; how many are there in the end?"""

from tinyllm.config import setting
from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES, Form, Shape, read_any
from tinyllm.world.task import dials, task

WAYS = {  # event -> three ways to say it; {n} is "3 kites"
    "gain": ("{a} finds {n}.", "{a} buys {n}.", "At the fair, {a} wins {n}."),
    "loss": ("{a} loses {n}.", "{a} sells {n}.", "The wind takes {n} from {a}."),
    "gift": ("{a} gives {n} to {b}.", "{b} gets {n} from {a}.", "{a} passes {n} on to {b}."),
    "start": ("{a} has {n}.",),
}
COMES, GOES = {("gain", True), ("gift", False)}, {("loss", True), ("gift", True)}  # event, is it the own?
BOTH = "both"
MANY = {thing: "scarves" if thing == "scarf" else thing + "s" for thing in names.THINGS}
ONE = {many: one for one, many in MANY.items()} | {one: one for one in MANY}
COUNT = Shape(
    r"\d{1,4} [a-z]+",
    lambda count: f"{count[0]} {count[1] if count[0] == 1 else MANY[count[1]]}",
    lambda text: (int(text.split()[0]), ONE[text.split()[1]]),
)
FORMS = {(kind, way): Form(text, a=FIRST_NAMES, b=FIRST_NAMES, n=COUNT)
         for kind, ways in WAYS.items() for way, text in enumerate(ways)}  # fmt: skip


def _say(story):
    """Say what two people had, and what happened: [kind of event, person 0 or 1, number, way to say it]."""
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


def _draw(world, random, dials):
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
    asked, thing = random.choice([*people, *people, BOTH]), random.choice(names.THINGS)
    story = {"people": people, "thing": thing, "had": now, "events": events}
    return {"story": story, "many": MANY[thing], "who": asked, "way": int(asked == BOTH)}


def _last_event(random, now, largest):
    """Draw an event after which the counts are `now`, and before which they were from 1 to `largest`."""
    possible = []
    for who in (0, 1):
        less, more, gone = now[who] - 1, largest - now[who], now[1 - who] - 1
        possible += [("gain", who, less), ("loss", who, more), ("gift", who, min(more, gone))]
    kind, who, most = random.choice([event for event in possible if event[2] > 0])
    return [kind, who, 1 + random.integers(most), random.integers(len(WAYS[kind]))]


def _changes(event):
    """Return [(who, how many more)] for an event (kind, who, number, way)."""
    kind, who, n, _ = event
    return {"gain": [(who, n)], "loss": [(who, -n)], "gift": [(who, -n), (1 - who, n)]}[kind]


def _follow(story, who=BOTH):
    """Return the calculations, and the result. Raises ValueError if somebody would have nothing left."""
    people, now, work = story["people"], list(story["had"]), []
    for event in story["events"]:
        for person, change in _changes(event):
            before = now[person]
            now[person] += change
            if event[2] < 1 or now[person] < 1:
                raise ValueError("nothing is left")
            sign = "+" if change > 0 else "-"
            work.append(f"{people[person]} {before} {sign} {event[2]} = {now[person]}.")
    if who == BOTH:
        return [*work, f"{now[0]} + {now[1]} = {sum(now)}."], sum(now)
    return work, now[people.index(who)]


def _keep_books(story, who=BOTH):
    """Count all that came in, less all that went out, of those who are asked for."""
    total = 0
    for i, person in enumerate(story["people"]):
        if who in (person, BOTH):
            total += story["had"][i]
            total += sum(n for kind, by, n, _ in story["events"] if (kind, by == i) in COMES)
            total -= sum(n for kind, by, n, _ in story["events"] if (kind, by == i) in GOES)
    return str(total)


def _chance(dials):
    """Return the probability of `largest`: counts are uniform, a fifth of questions is for the sum."""
    n = dials.largest
    return 4 / 5 / n + (n - 1) / n**2 / 5


@task("{story} How many {many} does {who} have now?", "{story} How many {many} do they have together?",
      slots={"story": Shape(r".+?\.", _say, _read), "who": FIRST_NAMES}, group="reasoning", chance=_chance,
      draw=_draw, second=_keep_books, working=lambda story, who=BOTH: " ".join(_follow(story, who)[0]),
      labels=lambda story, who=BOTH: {**story, "asked": who},
      splits={"template": lambda d: _template(**d.labels), "people": lambda d: sorted(d.labels["people"]),
              "text": lambda d: d.prompt},
      Dials=dials(events=setting(3, help="how often something is found, lost or given", min=1, max=8),
                  largest=setting(20, help="the most things that anybody has", min=3, max=999),
                  steps=setting(False, help="say after each event how many things there are")))  # fmt: skip
def word_problem(story: dict, many: str, who: str = BOTH) -> str:
    """Keep count of the things of two people, with or without the steps in between."""
    if many != MANY[story["thing"]]:
        raise ValueError("these are other things")
    return str(_follow(story, who)[1])


def _template(people, thing, events, asked, had):
    """Return what is told of what, without names and numbers."""
    return [thing, asked == BOTH or people.index(asked), *(event[:2] for event in events)]
