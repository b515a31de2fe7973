"""Ask questions that are answered with a tool; the text has a call, the tool's result and the answer."""

from tinyllm.world.calendar import WEEKDAYS, Date
from tinyllm.world.document import Document, attempts
from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.kinds.knowledge import proof
from tinyllm.world.names import words
from tinyllm.world.phrases import QUESTIONS, chain
from tinyllm.world.question import asks, dials, given
from tinyllm.world.tools import CARD, call, card
from tinyllm.world.world import World

FRUITS = words("apples nuts cherries plums pears acorns beans pebbles buttons shells candles biscuits")
CALCULATIONS = (  # question, call, the answer
    ("{name} packs {a:count} baskets with {b:count} {fruits} each. How many {fruits} are packed?",
     "calc {a} * {b}", lambda a, b: a * b),
    ("{name} fills {a:count} boxes with {b:count} {fruits} each; {c:count} are left. How many are there?",
     "calc {a} * {b} + {c}", lambda a, b, c: a * b + c),
    ("Of {a:count} bags with {b:count} {fruits} each {name} loses {c:count} {fruits}. How many come home?",
     "calc {a} * {b} - {c}", lambda a, b, c: a * b - c),
    ("{name} has {a:count} {fruits}, finds {b:count} more and sells all at {c:count} pence. For how much?",
     "calc ({a} + {b}) * {c}", lambda a, b, c: a * c + b * c),
    ("{name} shares {a:count} {fruits} fairly with {b:count} friends. How many {fruits} are left over?",
     "calc {a} % ({b} + 1)", lambda a, b: a - a // (b + 1) * (b + 1)),
)
DATES = (
    ("{name} was born on {a}. Which day of the week was it?", "weekday {a}",
     lambda a: WEEKDAYS[Date.read(a).number % len(WEEKDAYS)]),
    ("{name} was born on {a} and first saw the sea on {b}. After how many days?", "days {a} to {b}",
     lambda a, b: _days(Date.read(a), Date.read(b))),
    ("{name} was born on {a} and got a first letter {n:count} days later. On which date?", "after {a} + {n}",
     lambda a, n: Date.of(Date.read(a).number + n)),
)


def results(document: Document) -> list[list[int]]:
    """Return [start, end] of each tool result in a text; a model need not predict these parts."""
    text, spans, at = document.text, [], len(document.prompt)
    while (start := text.find("] => ", at)) >= 0:
        ends = [text.find(mark, start) for mark in (" [", " answer: ")]
        at = min(end for end in ends if end >= 0)
        spans.append([start + len("] => "), at])
    return spans


def _with_tool(forms, **more):
    return asks(
        *[question for question, _, _ in forms],
        group="tools",
        working=lambda truth, way, fields: f"[{forms[way][1].format_map(fields)}] => {truth(way, fields)}",
        second=lambda world, way, fields: call(world, forms[way][1].format_map(fields)),
        labels=lambda way, fields, document: {"way": way, **fields, "results": results(document)},
        **more,
    )


def _numbers(random, digits):
    """Draw a name, things, and numbers from 2; the numbers of baskets, pence and friends are at most 11."""
    way, largest = random.integers(len(CALCULATIONS)), 10**digits
    few, many, more = (2 + random.integers(n) for n in (min(10, largest - 3), largest - 2, largest - 2))
    a, b, c = few, many, min(few * many, more)
    if way == 3:
        a, b, c = many, more, few
    elif way == 4:  # more things than friends: each gets one
        a, b = max(many, few + 1), few
    name, fruits = random.choice(FIRST_NAMES), random.choice(FRUITS)
    return {"way": way, "name": name, "fruits": fruits, "a": a, "b": b, "c": c}


@_with_tool(CALCULATIONS, draw=_numbers,
            splits={"numbers": lambda d: [value for value in d.labels.values() if isinstance(value, int)]},
            Dials=dials(digits=(2, "digits of the larger numbers at most", 1, 5),
                        steps=(True, "call the calculator; else answer at once")))
def calculator(way: int, fields: dict) -> str:
    """Solve a word problem with a calculator."""
    return str(given(CALCULATIONS[way][2], **fields))


def _dates(world, random, days):
    """Draw a person and two dates: the day of birth, and a day `n` days later."""
    way, one, n = random.integers(3), random.choice(world.people), 1 + random.integers(days)
    a, b = str(Date.of(one.born)), str(Date.of(one.born + n))
    return {"way": way, "name": one.name, "a": a, "b": b, "n": n}


def _days(start, end):
    """Return the days between two dates, counted by years, months and days."""
    return 360 * (end.year - start.year) + 30 * (end.month - start.month) + end.day - start.day


@_with_tool(DATES, draw=_dates, chance=lambda dials: 1 / len(DATES) / len(WEEKDAYS),
            splits={"date": lambda d: d.labels["a"]},
            Dials=dials(days=(600, "days between two dates at most", 1, 7_000),
                        steps=(True, "call the calendar; else answer at once")))
def date_tool(way: int, fields: dict) -> str:
    """Answer questions about dates with the calendar, whose months all have 30 days."""
    return str(given(DATES[way][2], **fields))


HOPS = ("best_friend", "mother")
RELATIONS = list(CARD)


def _person(world, random, dials):
    """Draw a question: a person, relations to follow from there, and what is asked of the last person."""
    for _ in attempts():
        hops = [random.choice(HOPS) for _ in range(dials.hops - 1)]
        who = [random.choice(world.people).name, *hops]
        way = random.integers(len(RELATIONS))
        if len(proof(world, who, RELATIONS[way])) == dials.hops:
            return {"s": who, "way": way}


def _read_cards(world, s, way):
    """Solve independently: look up one entry after another, and cut the answer out of the text."""
    person, *hops = s
    for hop in [*hops, RELATIONS[way]]:
        person = card(world, person).partition(f" {CARD[hop]}: ")[2].partition(".")[0]
    return person


@asks(*[QUESTIONS[relation] for relation in RELATIONS], slots={"s": chain(*HOPS)}, group="tools",
      draw=_person, second=_read_cards,
      working=lambda world, s, way: " ".join(f"[look {fact.subject}] => {card(world, str(fact.subject))}"
                                             for fact in proof(world, s, RELATIONS[way])),
      labels=lambda s, way, document: {"subject": s[0], "chain": s[1:], "relation": RELATIONS[way],
                                       "results": results(document)},
      splits={"entity": lambda d: d.labels["subject"]},
      Dials=dials(hops=(1, "people to look up", 1, 3),
                  steps=(True, "look it up; else answer at once")))
def lookup(world: World, s: list[str], way: int) -> str:
    """Answer a question about a person by looking up one person after another in the encyclopaedia."""
    return str(proof(world, s, RELATIONS[way])[-1].object)
