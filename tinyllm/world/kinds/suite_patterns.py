"""Small tasks about words that are made of the same letters."""

from collections import Counter

from tinyllm.world.task import CONSONANTS, NO_YES, VOWELS, babble, task


def _another(random, letter):
    """Draw another letter of the same sort."""
    return random.choice((VOWELS if letter in VOWELS else CONSONANTS).replace(letter, ""))


def _halves(world, random, dials):
    half = babble(random, (dials.size + 1) // 2)
    word = half + half[::-1][dials.size % 2 :]
    if random.integers(2):
        i = random.integers(dials.size // 2)
        word = word[:i] + _another(random, word[i]) + word[i + 1 :]
    return {"word": word}


@task("Is {word} the same when read backwards?", "Is {word} a palindrome?",
      size=(5, "how many letters the word has", 2, 15), choices=NO_YES, draw=_halves,
      second=lambda word: NO_YES[all(word[i] == word[-1 - i] for i in range(len(word) // 2))])  # fmt: skip
def palindrome(word: str) -> str:
    """Say if a word is the same backwards."""
    return NO_YES[word == word[::-1]]


def _shuffled(world, random, dials):
    one = babble(random, dials.size)
    letters = random.shuffle(one)
    if random.integers(2):
        i = random.integers(dials.size)
        letters[i] = _another(random, letters[i])
    return {"one": one, "two": "".join(letters)}


@task("Can the letters of {one} be laid as {two}?", "Is {two} an anagram of {one}?",
      size=(5, "how many letters each word has", 3, 12), choices=NO_YES, draw=_shuffled,
      second=lambda one, two: NO_YES[Counter(one) == Counter(two)])  # fmt: skip
def anagram(one: str, two: str) -> str:
    """Say if two words are made of the same letters."""
    return NO_YES[sorted(one) == sorted(two)]
