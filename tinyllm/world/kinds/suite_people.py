"""Small tasks about the people and places of the world."""

from functools import cache
from itertools import pairwise

from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.task import pick, task


@cache
def _miles(world):
    """Return the miles along the roads between all places: {place: [(other, miles)]}."""
    return {x: [(y, world.map.route(x, y)[0]) for y in world.map.places if y != x] for x in world.map.places}


def _two_towns(world, random, dials):
    home = random.choice(names.PLACES)
    (one, m), (two, n) = pick(random, _miles(world)[home], 2)
    if m == n:
        return _two_towns(world, random, dials)
    return {"home": home, "m": m, "one": one, "n": n, "two": two}


@task("From {home} it is {m:int} miles to {one} and {n:int} to {two}. Nearer is",
      "{home} to {one}: {m:int} miles; to {two}: {n:int} miles. The shorter way is to",
      options=2, draw=_two_towns, second=lambda home, m, one, n, two: min((m, one), (n, two))[1])  # fmt: skip
def nearer(home: str, m: int, one: str, n: int, two: str) -> str:
    """Say which of two towns is nearer, by the miles to each."""
    return one if m < n else two


def _coloured(world, random, dials):
    things, colours = pick(random, names.THINGS, dials.size), pick(random, names.COLOURS, dials.size)
    both = [f"{colour} {thing}" for colour, thing in zip(colours, things, strict=True)]
    return {"name": random.choice(FIRST_NAMES), "things": both, "thing": random.choice(things)}


@task("{name} has these: {things:list}. The colour of the {thing} is",
      "On the shelf of {name}: {things:list}. What colour is the {thing}?",
      size=(3, "how many things there are", 1, 8), draw=_coloured,
      chance=lambda dials: 1 / dials.size if dials.size > 1 else 1 / len(names.COLOURS),
      second=lambda name, things, thing: ", ".join(things).partition(f" {thing}")[0].split(", ")[-1],
      )  # fmt: skip
def colour_of(name: str, things: list[str], thing: str) -> str:
    """Say the colour of one of several things."""
    return next(both.split()[0] for both in things if both.split()[1] == thing)


def _queue(world, random, dials):
    people = pick(random, FIRST_NAMES, dials.size)
    return {"pairs": random.shuffle(f"{y} is behind {x}" for x, y in pairwise(people))}


def _behind_nobody(pairs):
    everybody = [name for pair in pairs for name in pair.split(" is behind ")]
    return next(x for x in everybody if not any(pair.startswith(f"{x} ") for pair in pairs))


@task("{pairs:list}. First in the queue is", "At the bakery {pairs:list}. Who is served first?",
      size=(4, "how many people there are", 2, 8), options="size",
      draw=_queue, second=_behind_nobody)  # fmt: skip
def queue(pairs: list[str]) -> str:
    """Find the first of a queue from who stands behind whom."""
    ahead = {pair.split()[0]: pair.split()[-1] for pair in pairs}
    person = next(iter(ahead))
    while person in ahead:
        person = ahead[person]
    return person
