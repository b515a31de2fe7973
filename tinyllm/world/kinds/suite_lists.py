"""Small tasks about lists of words."""


from tinyllm.world.task import THINGS, WORDS, pick, task

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


def _row(world, random, dials):
    return {"words": pick(random, THINGS, dials.size), "which": WHICH[random.integers(dials.size)]}


@task("In the row {words:list}, the {which} is", "Of {words:list}, which is the {which}?",
      size=(4, "how many words there are", 2, 10), options="size", draw=_row,
      second=lambda words, which: dict(zip(WHICH, words, strict=False))[which])  # fmt: skip
def position(words: list[str], which: str) -> str:
    """Find the word at a place of a list."""
    return words[WHICH.index(which)]
