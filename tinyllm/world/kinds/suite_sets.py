"""Small tasks about what is in a list, and what is in two."""

from itertools import pairwise

from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.task import NO_YES, THINGS, pick, task


def _some_things(world, random, dials):
    words = pick(random, THINGS, dials.size + 1)
    return {"words": words[1:], "word": words[random.integers(dials.size) + 1 if random.integers(2) else 0]}


@task("In the basket: {words:list}. Is {word} in it?", "Among {words:list}, do you see {word}?",
      size=(4, "how many words there are", 1, 16), choices=NO_YES, draw=_some_things,
      second=lambda words, word: NO_YES[f" {word}," in f" {', '.join(words)},"])  # fmt: skip
def member(words: list[str], word: str) -> str:
    """Say if a word is in a list."""
    return NO_YES[word in words]


def _one_twice(world, random, dials):
    words = pick(random, THINGS, dials.size)
    return {"words": random.shuffle([*words, words[0]])}


@task("Which comes twice: {words:list}?", "The parrot says {words:list}. It says twice:",
      size=(4, "how many different words there are", 2, 12), options="size", draw=_one_twice,
      second=lambda words: next(x for x, y in pairwise(sorted(words)) if x == y))  # fmt: skip
def repeated(words: list[str]) -> str:
    """Find the word that is said twice."""
    return next(word for word in words if words.count(word) == 2)


def _two_bags(world, random, dials):
    (x, y), things = pick(random, FIRST_NAMES, 2), pick(random, THINGS, 2 * dials.size)
    return {"x": x, "a": things[: dials.size], "y": y, "b": random.shuffle(things)[: dials.size]}


@task("{x} has {a:list}; {y} has {b:list}. Together they have",
      "Into one box go the {a:list} of {x} and the {b:list} of {y}. In the box:",
      size=(3, "how many things each has", 1, 8), draw=_two_bags,
      second=lambda x, a, y, b: ", ".join(a + [thing for thing in b if thing not in a]))  # fmt: skip
def union(x: str, a: list[str], y: str, b: list[str]) -> str:
    """Put two lists together, each thing once."""
    return ", ".join(dict.fromkeys(a + b))


def _one_in_both(world, random, dials):
    (x, y), things = pick(random, FIRST_NAMES, 2), pick(random, THINGS, 2 * dials.size - 1)
    a, b = things[: dials.size], things[dials.size - 1 :]
    return {"x": x, "a": random.shuffle(a), "y": y, "b": random.shuffle(b)}


@task("{x} has {a:list}; {y} has {b:list}. Both of them have",
      "{x} packs {a:list}. {y} packs {b:list}. What do both pack?",
      size=(3, "how many things each has", 1, 8), draw=_one_in_both,
      chance=lambda dials: 1 / dials.size if dials.size > 1 else 0.0,
      second=lambda x, a, y, b: (set(a) & set(b)).pop())  # fmt: skip
def common(x: str, a: list[str], y: str, b: list[str]) -> str:
    """Find the one thing that two people both have."""
    return next(thing for thing in a if thing in b)
