"""Write small tasks about lists of words, and about people: what they have, where they stand."""

from itertools import pairwise

from tinyllm.world import names
from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.question import NO_YES, THINGS, WORDS, asks, pick

WHICH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def _words(random, size):
    return {"words": pick(random, WORDS, size)}


@asks("Say after me: {words:list}.", "The parrot hears {words:list} and says",
      size=(4, "how many words there are", 1, 12), draw=_words,
      second=lambda words: "".join(f"{word}, " for word in words)[:-2])
def copy(words: list[str]) -> str:
    """Repeat a list of words."""
    return ", ".join(words)


def _by_rank(words):
    places = {sum(other < word for other in words): word for word in words}
    return ", ".join([places[i] for i in range(len(words))])


@asks("In alphabetical order, {words:list} are", "On the library shelf, {words:list} stand like this:",
      size=(3, "how many words there are", 2, 10), draw=_words, second=_by_rank)
def sort_words(words: list[str]) -> str:
    """Put words into alphabetical order."""
    return ", ".join(sorted(words))


@asks("In the row {words:list}, the {which} is", "Of {words:list}, which is the {which}?",
      size=(4, "how many words there are", 2, 10), options="size",
      draw=lambda random, size: {"words": pick(random, THINGS, size), "which": WHICH[random.integers(size)]},
      second=lambda words, which: dict(zip(WHICH, words, strict=False))[which])
def position(words: list[str], which: str) -> str:
    """Find the word at a position in a list, such as the third."""
    return words[WHICH.index(which)]


def _some_things(random, size):
    words = pick(random, THINGS, size + 1)
    return {"words": words[1:], "word": words[random.integers(size) + 1 if random.integers(2) else 0]}


@asks("In the basket: {words:list}. Do you find {word} in it?", "Among {words:list}, do you see {word}?",
      size=(4, "how many words there are", 1, 16), choices=NO_YES, draw=_some_things,
      second=lambda words, word: NO_YES[f" {word}," in f" {', '.join(words)},"])
def member(words: list[str], word: str) -> str:
    """Say if a word is in a list."""
    return NO_YES[word in words]


def _one_in_both(random, size):
    (x, y), things = pick(random, FIRST_NAMES, 2), pick(random, THINGS, 2 * size - 1)
    a, b = things[:size], things[size - 1 :]
    return {"x": x, "a": random.shuffle(a), "y": y, "b": random.shuffle(b)}


@asks("{x} has {a:list}; {y} has {b:list}. Both of them have",
      "{x} packs {a:list}. {y} packs {b:list}. What do both pack?",
      size=(3, "how many things each has", 1, 8), draw=_one_in_both,
      chance=lambda dials: 1 / dials.size if dials.size > 1 else 0.0,
      second=lambda x, a, y, b: (set(a) & set(b)).pop())
def common(x: str, a: list[str], y: str, b: list[str]) -> str:
    """Find the one thing that two people have in common."""
    return next(thing for thing in a if thing in b)


def _coloured(random, size):
    things, colours = pick(random, names.THINGS, size), pick(random, names.COLOURS, size)
    both = [f"{colour} {thing}" for colour, thing in zip(colours, things, strict=True)]
    return {"name": random.choice(FIRST_NAMES), "things": both, "thing": random.choice(things)}


@asks("{name} has these: {things:list}. The colour of the {thing} is",
      "On the shelf of {name}: {things:list}. What colour is the {thing}?",
      size=(3, "how many things there are", 1, 8), draw=_coloured,
      chance=lambda dials: 1 / dials.size if dials.size > 1 else 1 / len(names.COLOURS),
      second=lambda name, things, thing: ", ".join(things).partition(f" {thing}")[0].split(", ")[-1])
def colour_of(name: str, things: list[str], thing: str) -> str:
    """Say the colour of one of several things."""
    return next(both.split()[0] for both in things if both.split()[1] == thing)


def _behind_nobody(pairs):
    everybody = [name for pair in pairs for name in pair.split(" is behind ")]
    return next(x for x in everybody if not any(pair.startswith(f"{x} ") for pair in pairs))


@asks("{pairs:list}. First in the queue is", "At the bakery {pairs:list}. Who is served first?",
      size=(4, "how many people there are", 2, 8), options="size", second=_behind_nobody,
      draw=lambda random, size: {"pairs": random.shuffle(
          f"{y} is behind {x}" for x, y in pairwise(pick(random, FIRST_NAMES, size)))})
def queue(pairs: list[str]) -> str:
    """Find the first person in a queue; each hint says who stands behind another person."""
    ahead = {pair.split()[0]: pair.split()[-1] for pair in pairs}
    person = next(iter(ahead))
    for _ in pairs:
        person = ahead.get(person, person)
    return person
