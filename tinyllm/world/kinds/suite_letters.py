"""Small tasks about the letters of a word."""

from collections import Counter, defaultdict
from functools import reduce
from string import ascii_lowercase as ABC

from tinyllm.world.task import VOWELS, WORDS, babble, task

ORDER = ("first", "second", "third", "last")
BY_VOWELS: dict[int, list[str]] = defaultdict(list)  # number of vowels -> words
BY_LETTER: dict[int, list[dict]] = defaultdict(list)  # count -> a letter and a word
for _word in WORDS:
    BY_VOWELS[sum(c in VOWELS for c in _word)].append(_word)
    for _letter in ABC:
        BY_LETTER[_word.count(_letter)].append({"letter": _letter, "word": _word})


@task("Spell {word}, please:", "The letters of {word} are",
      draw=lambda world, random, dials: {"word": random.choice(WORDS)},
      second=lambda word: "".join(f"{letter}-" for letter in word)[:-1])  # fmt: skip
def spell(word: str) -> str:
    """Spell a word, letter by letter."""
    return "-".join(word)


@task("In the mirror, {word} reads", "The wizard says {word} backwards:",
      size=(6, "how many letters the word has", 2, 16),
      draw=lambda world, random, dials: {"word": babble(random, dials.size)},
      second=lambda word: reduce(lambda turned, letter: letter + turned, word))  # fmt: skip
def mirror(word: str) -> str:
    """Write a word backwards."""
    return word[::-1]


@task("How many times is the letter {letter} in {word}?", "In {word}, the letter {letter} is so often:",
      choices=("0", "1", "2"),
      draw=lambda world, random, dials: random.choice(BY_LETTER[random.integers(3)]),
      second=lambda letter, word: str(len(word) - len(word.replace(letter, ""))))  # fmt: skip
def count_letter(letter: str, word: str) -> str:
    """Count how often a letter is in a word."""
    return str(word.count(letter))


@task("How many vowels are in {word}?", "The number of vowels of {word} is", choices=("1", "2", "3"),
      draw=lambda world, random, dials: {"word": random.choice(BY_VOWELS[1 + random.integers(3)])},
      second=lambda word: str(sum(map(word.count, VOWELS))))  # fmt: skip
def count_vowels(word: str) -> str:
    """Count the vowels of a word."""
    return str(sum(letter in VOWELS for letter in word))


def _letters(which, word):
    return {"first": word[:1], "second": word[1:2], "third": word[2:3], "last": word[::-1][0]}[which]


def _commonest(dials):
    """Return the share of the most frequent answer."""
    letters = Counter(_letters(which, word) for which in ORDER for word in WORDS)
    return max(letters.values()) / letters.total()


@task("The {which} letter of {word} is", "In {word}, which letter is the {which}?", chance=_commonest,
      draw=lambda world, random, dials: {"which": random.choice(ORDER), "word": random.choice(WORDS)},
      second=_letters)  # fmt: skip
def letter_at(which: str, word: str) -> str:
    """Say the first, second, third or last letter of a word."""
    return word[ORDER.index(which) if which != "last" else -1]
