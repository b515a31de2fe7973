"""Small tasks about lists of words."""

from itertools import pairwise
from typing import Any

from tinyllm.rng import Random
from tinyllm.world.task import FIRST_NAMES, NO_YES, THINGS, WORDS, Fields, Task, pick, sized
from tinyllm.world.world import World

WHICH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Copy(Task):
    """Say a list of words again."""

    Dials = sized(4, "how many words there are", 1, 12)
    asks = ("Say after me: {words:list}.", "The parrot hears {words:list} and says")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"words": pick(random, WORDS, dials.size)}

    def truth(self, words: list[str]) -> str:
        return ", ".join(words)

    def second(self, words: list[str]) -> str:
        return "".join(f"{word}, " for word in words)[:-2]


class ReverseList(Task):
    """Say a list of words in reverse order."""

    Dials = sized(4, "how many words there are", 2, 12)
    asks = ("From last to first, {words:list} are", "Walking home, we pass {words:list} again in this order:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"words": pick(random, WORDS, dials.size)}

    def truth(self, words: list[str]) -> str:
        return ", ".join(reversed(words))

    def second(self, words: list[str]) -> str:
        rest = list(words)
        return ", ".join([rest.pop() for _ in words])


class SortWords(Task):
    """Put words into the order of the alphabet."""

    Dials = sized(3, "how many words there are", 2, 10)
    asks = ("In alphabetical order, {words:list} are", "On the library shelf, {words:list} stand like this:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"words": pick(random, WORDS, dials.size)}

    def truth(self, words: list[str]) -> str:
        return ", ".join(sorted(words))

    def second(self, words: list[str]) -> str:
        places = {sum(other < word for other in words): word for word in words}
        return ", ".join([places[i] for i in range(len(words))])


class Earlier(Task):
    """Say which of two words comes first in a dictionary."""

    Dials = sized(0, "how many letters they have in common at the beginning", 0, 2)
    asks = (
        "Which comes first in a dictionary, {one} or {two}?",
        "Of {one} and {two}, a dictionary has first",
    )

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        one, two, n = "", "", dials.size
        while one == two or one[:n] != two[:n]:
            one, two = random.choice(WORDS), random.choice(WORDS)
        return {"one": one, "two": two}

    def truth(self, one: str, two: str) -> str:
        return min(one, two)

    def second(self, one: str, two: str) -> str:
        for x, y in zip(one, two, strict=False):
            if x != y:
                return one if ord(x) < ord(y) else two
        return one if len(one) < len(two) else two

    def chance(self, dials: Any) -> float:
        """Return the share of either word."""
        return 0.5


class Member(Task):
    """Say if a word is in a list."""

    Dials = sized(4, "how many words there are", 1, 16)
    choices = NO_YES
    asks = ("In the basket: {words:list}. Is {word} in it?", "Among {words:list}, do you see {word}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        words = pick(random, THINGS, dials.size + 1)
        i = random.integers(dials.size) + 1 if random.integers(2) else 0
        return {"words": words[1:], "word": words[i]}

    def truth(self, words: list[str], word: str) -> str:
        return NO_YES[word in words]

    def second(self, words: list[str], word: str) -> str:
        return NO_YES[f" {word}," in f" {', '.join(words)},"]


class Repeated(Task):
    """Find the word that is said twice."""

    Dials = sized(4, "how many different words there are", 2, 12)
    asks = ("Which comes twice: {words:list}?", "The parrot says {words:list}. It says twice:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        words = pick(random, THINGS, dials.size)
        return {"words": random.shuffle([*words, words[0]])}

    def truth(self, words: list[str]) -> str:
        return next(word for word in words if words.count(word) == 2)

    def second(self, words: list[str]) -> str:
        row = sorted(words)
        return next(x for x, y in pairwise(row) if x == y)

    def chance(self, dials: Any) -> float:
        """Return the share of each word."""
        return 1 / dials.size


class Position(Task):
    """Find the word at a place of a list."""

    Dials = sized(4, "how many words there are", 2, 10)
    asks = ("In the row {words:list}, the {which} is", "Of {words:list}, which is the {which}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"words": pick(random, THINGS, dials.size), "which": WHICH[random.integers(dials.size)]}

    def truth(self, words: list[str], which: str) -> str:
        return words[WHICH.index(which)]

    def second(self, words: list[str], which: str) -> str:
        return dict(zip(WHICH, words, strict=False))[which]

    def chance(self, dials: Any) -> float:
        """Return the share of each word."""
        return 1 / dials.size


class Union(Task):
    """Put two lists together, each thing once."""

    Dials = sized(3, "how many things each has", 1, 8)
    asks = ("{x} has {a:list}; {y} has {b:list}. Together they have",
            "Into one box go the {a:list} of {x} and the {b:list} of {y}. In the box:")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        (x, y), things = pick(random, FIRST_NAMES, 2), pick(random, THINGS, 2 * dials.size)
        second = random.shuffle(things)[: dials.size]
        return {"x": x, "a": things[: dials.size], "y": y, "b": second}

    def truth(self, x: str, a: list[str], y: str, b: list[str]) -> str:
        return ", ".join(dict.fromkeys(a + b))

    def second(self, x: str, a: list[str], y: str, b: list[str]) -> str:
        return ", ".join(a + [thing for thing in b if thing not in a])


class Common(Task):
    """Find the one thing that two people both have."""

    Dials = sized(3, "how many things each has", 1, 8)
    asks = ("{x} has {a:list}; {y} has {b:list}. Both of them have",
            "{x} packs {a:list}. {y} packs {b:list}. What do both pack?")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        (x, y), things = pick(random, FIRST_NAMES, 2), pick(random, THINGS, 2 * dials.size - 1)
        a, b = things[: dials.size], things[dials.size - 1 :]
        return {"x": x, "a": random.shuffle(a), "y": y, "b": random.shuffle(b)}

    def truth(self, x: str, a: list[str], y: str, b: list[str]) -> str:
        return next(thing for thing in a if thing in b)

    def second(self, x: str, a: list[str], y: str, b: list[str]) -> str:
        return (set(a) & set(b)).pop()

    def chance(self, dials: Any) -> float:
        """Return the share of each thing of one person."""
        return 1 / dials.size if dials.size > 1 else 0.0
