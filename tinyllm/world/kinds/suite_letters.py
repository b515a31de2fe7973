"""Write small tasks about the letters of words."""

from collections import Counter, defaultdict
from functools import cache, reduce
from string import ascii_lowercase as ABC

from tinyllm.world.question import CONSONANTS, NO_YES, VOWELS, WORDS, asks, babble

SIZE = 12, "letters of the word at most", 4, 12


@cache
def _known(size):
    """Return the words of up to `size` letters, and {n: [a letter, and a word with n of this letter]}."""
    words, found = [word for word in WORDS if len(word) <= size], defaultdict(list)
    for word in words:
        for letter in ABC:
            found[word.count(letter)].append({"letter": letter, "word": word})
    return words, found


@asks("Spell {word}, please:", "The letters of {word} are",
      size=SIZE, chance=lambda dials: 1 / len(_known(dials.size)[0]),
      draw=lambda world, random, dials: {"word": random.choice(_known(dials.size)[0])},
      second=lambda word: "".join(f"{letter}-" for letter in word)[:-1])
def spell(word: str) -> str:
    """Spell a word, letter by letter."""
    return "-".join(word)


@asks("In the mirror, {word} reads", "The wizard says {word} backwards:",
      size=(6, "how many letters the word has", 2, 16),
      draw=lambda world, random, dials: {"word": babble(random, dials.size)},
      second=lambda word: reduce(lambda turned, letter: letter + turned, word))
def mirror(word: str) -> str:
    """Write a word backwards."""
    return word[::-1]


@asks("How many times is the letter {letter} in {word}?", "Count the letter {letter} in {word}:",
      choices=("0", "1", "2"), size=SIZE,
      draw=lambda world, random, dials: random.choice(_known(dials.size)[1][random.integers(3)]),
      second=lambda letter, word: str(len(word) - len(word.replace(letter, ""))))
def count_letter(letter: str, word: str) -> str:
    """Count how often a letter is in a word."""
    return str(word.count(letter))


def _another(random, letter):
    """Draw another vowel for a vowel, or another consonant for a consonant."""
    return random.choice((VOWELS if letter in VOWELS else CONSONANTS).replace(letter, ""))


def _shuffled(world, random, dials):
    one = babble(random, dials.size)
    letters = random.shuffle(one)
    if random.integers(2):
        i = random.integers(dials.size)
        letters[i] = _another(random, letters[i])
    return {"one": one, "two": "".join(letters)}


@asks("Can the letters of {one} be laid as {two}?", "Is {two} an anagram of {one}?",
      size=(5, "how many letters each word has", 3, 12), choices=NO_YES, draw=_shuffled,
      second=lambda one, two: NO_YES[Counter(one) == Counter(two)])
def anagram(one: str, two: str) -> str:
    """Say if two words are made of the same letters."""
    return NO_YES[sorted(one) == sorted(two)]
