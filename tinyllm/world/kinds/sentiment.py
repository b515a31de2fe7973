"""Ask for the sentiment behind nested denials, or for what somebody did because of it."""

from tinyllm.world.forms import FIRST_NAMES, Form, Shape, lower, read_any
from tinyllm.world.names import table, words
from tinyllm.world.question import asks, dials

CONFIRMS = ("it is true", "{who} was right to say", "{who} told the truth when {he} said", "it is not false",
            "the neighbours were not wrong to think")
DENIES = ("it is not true", "{who} was wrong to think", "{who} lied when {he} said",
          "the children did not tell the truth when they said", "the neighbours were not right to say")
FORMS = [Form(text, who=FIRST_NAMES, he=("he", "she")) for text in CONFIRMS + DENIES]
GOOD, BAD = words("good lovely splendid fine"), words("bad awful dreadful poor")
THINGS = table("""
soup: asked for more, gave it to the dog; song: hummed it all day, closed the window
boat: sailed out at once, stayed on the shore; story: begged for another, fell asleep
hat: wore it to the feast, left it on the hook; bed: slept until noon, lay down on the floor
cake: ate three slices, fed it to the ducks; bridge: ran across, went the long way round
joke: told it to everybody, only yawned; pony: rode home, walked home
tea: drank two cups, watered the roses with it; map: found the treasure, came home at midnight
""")  # what somebody does if the thing was good, and if it was bad


def _say(claims):
    said = " that ".join(FORMS[i].say(**who) for i, who in claims)
    return said[0].upper() + said[1:]


def _read(text):
    found = [read_any(FORMS, lower(part, FIRST_NAMES)) for part in text.split(" that ")]
    return [(i, who) for i, who in filter(None, found)]


def _draw(world, random, depth, consequences):
    claims, good = [], random.integers(2) == 1
    adjective = random.choice(GOOD if good else BAD)
    for _ in range(1 + random.integers(depth)):
        i, who = random.integers(len(FORMS)), random.choice(world.people)
        claims.append((i, {"who": who.first, "he": who.he}))
    hero = random.choice(world.people).first if consequences else ""
    thing = random.choice(list(THINGS))
    return {"claims": claims, "thing": thing, "adjective": adjective, "hero": hero, "way": int(hero != "")}


def _good(claims, adjective):
    """Return True if the thing was good: each denial reverses the claim."""
    return (adjective in GOOD) ^ (sum(i >= len(CONFIRMS) for i, _ in claims) % 2 == 1)


def _count_denials(prompt, thing, way):
    """Solve independently: count the denying words; an even number leaves the claim unchanged."""
    claim = prompt.partition(". Was ")[0].partition(", so ")[0].split(" ")
    denials = sum(word.lower() in ("lied", "not", "wrong", "false", *BAD) for word in claim)
    plain, deed = ("yes", "no")[denials % 2], THINGS[thing][denials % 2]
    return f"{('smiled', 'frowned')[denials % 2]} and {deed}" if way else plain


def _choices(way):
    deeds = [(f"smiled and {kept}", f"frowned and {left}") for kept, left in THINGS.values()]
    return [deed for pair in deeds for deed in pair] if way else ["yes", "no"]


CLAIM = "{claims} that the {thing} was {adjective}"


@asks(f"{CLAIM}. Was the {{thing}} good?", f"{CLAIM}, so {{hero}}",
      slots={"claims": Shape(r".+?", _say, _read), "thing": THINGS, "adjective": [*GOOD, *BAD]},
      group="understanding", marker="", draw=_draw, second=_count_denials, choices=_choices,
      labels=lambda claims, thing, adjective: {"wrappings": [i for i, _ in claims], "thing": thing,
                                               "good": _good(claims, adjective)},
      chance=lambda dials: 1 / (2 * len(THINGS)) if dials.consequences else 0.5,
      splits={"combination": lambda d: [d.labels["wrappings"], d.labels["thing"]]},
      Dials=dials(
          depth=(3, "how many times the claim is wrapped at most", 1, 6),
          consequences=(False, "tell what somebody did then, instead of asking if the thing was good")))
def sentiment(claims: list, thing: str, adjective: str, way: int) -> str:
    """Say if a thing was good when people deny what others said about it."""
    good = _good(claims, adjective)
    if way == 0:
        return "yes" if good else "no"
    return ("smiled and " if good else "frowned and ") + THINGS[thing][not good]
