"""Write small tasks about people: what they have, and where they stand."""

from itertools import pairwise

from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.question import asks, pick


def _coloured(world, random, dials):
    things, colours = pick(random, names.THINGS, dials.size), pick(random, names.COLOURS, dials.size)
    both = [f"{colour} {thing}" for colour, thing in zip(colours, things, strict=True)]
    return {"name": random.choice(FIRST_NAMES), "things": both, "thing": random.choice(things)}


@asks("{name} has these: {things:list}. The colour of the {thing} is",
      "On the shelf of {name}: {things:list}. What colour is the {thing}?",
      size=(3, "how many things there are", 1, 8), draw=_coloured,
      chance=lambda dials: 1 / dials.size if dials.size > 1 else 1 / len(names.COLOURS),
      second=lambda name, things, thing: ", ".join(things).partition(f" {thing}")[0].split(", ")[-1],
      )
def colour_of(name: str, things: list[str], thing: str) -> str:
    """Say the colour of one of several things."""
    return next(both.split()[0] for both in things if both.split()[1] == thing)


def _queue(world, random, dials):
    people = pick(random, FIRST_NAMES, dials.size)
    return {"pairs": random.shuffle(f"{y} is behind {x}" for x, y in pairwise(people))}


def _behind_nobody(pairs):
    everybody = [name for pair in pairs for name in pair.split(" is behind ")]
    return next(x for x in everybody if not any(pair.startswith(f"{x} ") for pair in pairs))


@asks("{pairs:list}. First in the queue is", "At the bakery {pairs:list}. Who is served first?",
      size=(4, "how many people there are", 2, 8), options="size",
      draw=_queue, second=_behind_nobody)
def queue(pairs: list[str]) -> str:
    """Find the first person in a queue; each hint says who stands behind another person."""
    ahead = {pair.split()[0]: pair.split()[-1] for pair in pairs}
    person = next(iter(ahead))
    for _ in pairs:
        person = ahead.get(person, person)
    return person
