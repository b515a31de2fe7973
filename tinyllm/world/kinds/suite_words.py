"""Small tasks about the meaning and the forms of words."""

from typing import Any

from tinyllm.world import names
from tinyllm.world.names import words
from tinyllm.world.task import TABLES, pick, task

OPPOSITES = words("""
    big small hot cold day night up down old new fast slow happy sad light dark wet dry open shut full empty
    long short high low rich poor loud quiet hard soft thick thin near far early late clean dirty sweet sour
    left right over under before after first last push pull give take laugh cry buy sell win lose brave afraid
    heavy weightless sharp blunt strong weak summer winter north south true false begin end remember forget
""")
SORT = {word: sort for sort, table in TABLES.items() for word in table}
RELATED = [  # pairs of the same relation
    *[[(job, facts[i].split()[-1]) for job, facts in names.JOBS.items()] for i in range(3)],
    [(animal, facts[1]) for animal, facts in names.ANIMALS.items()],
]


@task("The opposite of {word} is", "Not {word} but",
      draw=lambda world, random, dials: {"word": random.choice(OPPOSITES)},
      second=lambda word: dict(zip(OPPOSITES[::2] + OPPOSITES[1::2], OPPOSITES[1::2] + OPPOSITES[::2],
                                   strict=True))[word])  # fmt: skip
def opposite(word: str) -> str:
    """Give the opposite of a word."""
    return OPPOSITES[OPPOSITES.index(word) ^ 1]


def _one_other(world, random, dials):
    most, other = pick(random, list(TABLES), 2)
    same = pick(random, TABLES[most], dials.size - 1)
    return {"words": random.shuffle([*same, random.choice(TABLES[other])])}


def _alone(words):
    """Return the word that is in a table with no other."""
    return next(x for x in words if sum(x in t and y in t for t in TABLES.values() for y in words) == 1)


@task("Which does not belong: {words:list}?", "The odd one out of {words:list} is",
      size=(4, "how many words there are", 3, 8), options="size", draw=_one_other, second=_alone)  # fmt: skip
def odd_one_out(words: list[str]) -> str:
    """Find the word that is of another sort."""
    sorts = [SORT[word] for word in words]
    return words[sorts.index(min(sorts, key=sorts.count))]


@task("What sort of thing is this: {word}?", "The word {word} names a sort of", choices=tuple(TABLES),
      draw=lambda world, random, dials: {"word": random.choice(TABLES[random.choice(list(TABLES))])},
      second=lambda word: next(sort for sort, table in TABLES.items() if word in table))  # fmt: skip
def category(word: str) -> str:
    """Say what sort of thing something is."""
    return SORT[word]


def _two_pairs(world, random, dials):
    (x, y), (z, _) = pick(random, random.choice(RELATED), 2)
    return {"a": x, "b": y, "c": z}


def _same_column(a, b, c):
    table: Any = names.JOBS if a in names.JOBS else names.ANIMALS
    place = [fact.split()[-1] for fact in table[a]].index(b)
    return table[c][place].split()[-1]


@task("{a} is to {b} as {c} is to", "What {b} is to {a}, to {c} is",
      draw=_two_pairs, second=_same_column)  # fmt: skip
def analogy(a: str, b: str, c: str) -> str:
    """Find the word that goes with a word as another pair goes together."""
    return next(dict(pairs) for pairs in RELATED if (a, b) in pairs)[c]
