"""Small tasks about lists of words."""

from itertools import pairwise

from tinyllm.world.task import FIRST_NAMES, NO_YES, THINGS, WORDS, pick, task

WHICH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def _words(world, random, dials):
    return {"words": pick(random, WORDS, dials.size)}


@task("Say after me: {words:list}.", "The parrot hears {words:list} and says",
      size=(4, "how many words there are", 1, 12), draw=_words,
      second=lambda words: "".join(f"{word}, " for word in words)[:-2])  # fmt: skip
def copy(words: list[str]) -> str:
    """Say a list of words again."""
    return ", ".join(words)


@task("From last to first, {words:list} are", "Walking home, we pass {words:list} again in this order:",
      size=(4, "how many words there are", 2, 12), draw=_words,
      second=lambda words: ", ".join(words[-i] for i in range(1, len(words) + 1)))  # fmt: skip
def reverse_list(words: list[str]) -> str:
    """Say a list of words in reverse order."""
    return ", ".join(reversed(words))


def _by_rank(words):
    places = {sum(other < word for other in words): word for word in words}
    return ", ".join([places[i] for i in range(len(words))])


@task("In alphabetical order, {words:list} are", "On the library shelf, {words:list} stand like this:",
      size=(3, "how many words there are", 2, 10), draw=_words, second=_by_rank)  # fmt: skip
def sort_words(words: list[str]) -> str:
    """Put words into the order of the alphabet."""
    return ", ".join(sorted(words))


def _alike(world, random, dials):
    one, two, n = "", "", dials.size
    while one == two or one[:n] != two[:n]:
        one, two = random.choice(WORDS), random.choice(WORDS)
    return {"one": one, "two": two}


def _letter_by_letter(one, two):
    for x, y in zip(one, two, strict=False):
        if x != y:
            return one if ord(x) < ord(y) else two
    return one if len(one) < len(two) else two


@task("Which comes first in a dictionary, {one} or {two}?", "Of {one} and {two}, a dictionary has first",
      size=(0, "how many letters they have in common at the beginning", 0, 2), options=2,
      draw=_alike, second=_letter_by_letter)  # fmt: skip
def earlier(one: str, two: str) -> str:
    """Say which of two words comes first in a dictionary."""
    return min(one, two)


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


def _row(world, random, dials):
    return {"words": pick(random, THINGS, dials.size), "which": WHICH[random.integers(dials.size)]}


@task("In the row {words:list}, the {which} is", "Of {words:list}, which is the {which}?",
      size=(4, "how many words there are", 2, 10), options="size", draw=_row,
      second=lambda words, which: dict(zip(WHICH, words, strict=False))[which])  # fmt: skip
def position(words: list[str], which: str) -> str:
    """Find the word at a place of a list."""
    return words[WHICH.index(which)]


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
