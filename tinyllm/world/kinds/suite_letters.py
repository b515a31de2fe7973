"""Write small tasks about the letters of words, and about codes: short forms, ciphers, brackets."""

from collections import Counter, defaultdict
from functools import cache, reduce
from itertools import groupby, pairwise
from string import ascii_lowercase as ABC

from tinyllm.world.question import CONSONANTS, NO_YES, VOWELS, WORDS, asks, babble, pick

SIZE = 12, "letters of the word at most", 4, 12


@cache
def _known(size):
    """Return the words of up to `size` letters, and {n: (letter, word) in which it occurs n times}."""
    words, found = [word for word in WORDS if len(word) <= size], defaultdict(list)
    for word in words:
        for letter in ABC:
            found[word.count(letter)].append({"letter": letter, "word": word})
    return words, found


@asks("Spell {word}, please:", "The letters of {word} are",
      size=SIZE, chance=lambda dials: 1 / len(_known(dials.size)[0]),
      draw=lambda random, size: {"word": random.choice(_known(size)[0])},
      second=lambda word: "".join(f"{letter}-" for letter in word)[:-1])
def spell(word: str) -> str:
    """Spell a word, letter by letter."""
    return "-".join(word)


@asks("In the mirror, {word} reads", "The wizard says {word} backwards:",
      size=(6, "how many letters the word has", 2, 16),
      draw=lambda random, size: {"word": babble(random, size)},
      second=lambda word: reduce(lambda turned, letter: letter + turned, word))
def mirror(word: str) -> str:
    """Write a word backwards."""
    return word[::-1]


@asks("How many times is the letter {letter} in {word}?", "Count the letter {letter} in {word}:",
      choices=("0", "1", "2"), size=SIZE,
      draw=lambda random, size: random.choice(_known(size)[1][random.integers(3)]),
      second=lambda letter, word: str(len(word) - len(word.replace(letter, ""))))
def count_letter(letter: str, word: str) -> str:
    """Count how often a letter is in a word."""
    return str(word.count(letter))


def _shuffled(random, size):
    one = babble(random, size)
    letters = random.shuffle(one)
    if random.integers(2):  # put another vowel for a vowel, or another consonant for a consonant
        i = random.integers(size)
        letters[i] = random.choice((VOWELS if letters[i] in VOWELS else CONSONANTS).replace(letters[i], ""))
    return {"one": one, "two": "".join(letters)}


@asks("Can the letters of {one} be laid as {two}?", "Is {two} an anagram of {one}?",
      size=(5, "how many letters each word has", 3, 12), choices=NO_YES, draw=_shuffled,
      second=lambda one, two: NO_YES[Counter(one) == Counter(two)])
def anagram(one: str, two: str) -> str:
    """Say if two words are made of the same letters."""
    return NO_YES[sorted(one) == sorted(two)]


PAIRS = ("()", "[]", "{}")


def _runs(random, size):
    letters: list[str] = []
    for _ in range(size):
        new = random.choice("abcd".replace(letters[-1], "") if letters else "abcd")
        letters += [new] * (1 + random.integers(4))
    return {"letters": letters}


def _ends(letters):
    ends = [i for i in range(1, len(letters) + 1) if letters[i - 1 : i] != letters[i : i + 1]]
    return " ".join(f"{end - i}{letters[i]}" for i, end in zip([0, *ends], ends, strict=False))


@asks("Told in short, {letters:row} is", "{letters:row} can be packed as",
      size=(3, "how many runs there are", 1, 12), draw=_runs, second=_ends)
def run_length(letters: list[str]) -> str:
    """Count equal letters that follow each other: a a b becomes 2a 1b."""
    return " ".join(f"{len(list(run))}{letter}" for letter, run in groupby(letters))


@asks("Take the first letters of {words:list}:", "The first letters of {words:list} make",
      size=(4, "how many words there are", 2, 10),
      draw=lambda random, size: {"words": pick(random, WORDS, size)},
      second=lambda words: "".join(y for x, y in pairwise(f" {' '.join(words)}") if x == " "))
def acronym(words: list[str]) -> str:
    """Write the first letters of some words as one word."""
    return "".join(word[0] for word in words)


@asks("Each letter moves on by {n:count}: {word} becomes", "The spy moves {word} on by {n:count}:",
      size=(1, "how far letters move at most", 1, 25),
      draw=lambda random, size: {"n": 1 + random.integers(size), "word": random.choice(WORDS)},
      second=lambda n, word: word.translate(str.maketrans(ABC, ABC[n:] + ABC[:n])))
def secret_writing(n: int, word: str) -> str:
    """Write a word in a cipher that moves every letter on in the alphabet; a follows z."""
    return "".join(ABC[(ABC.index(letter) + n) % 26] for letter in word)


def _brackets(random, size):
    row: list[str] = []
    for _ in range(size):  # put a pair around a balanced part, or beside it
        (left, right), i = random.choice(PAIRS), random.integers(2)
        row = [left, *row, right] if i else [*row, left, right]
    if random.integers(2):
        i = random.integers(len(row))
        row[i] = random.choice([sign for pair in PAIRS for sign in pair if sign != row[i]])
    return {"row": row}


def _erase(row):
    text = "".join(row)
    for pair in PAIRS * len(row):
        text = text.replace(pair, "")
    return NO_YES[text == ""]


@asks("Does each bracket of {row:row} find its partner?", "Is {row:row} balanced?",
      size=(4, "how many pairs of brackets", 1, 20), choices=NO_YES,
      draw=_brackets, second=_erase)
def brackets(row: list[str]) -> str:
    """Say if every bracket in a row is closed by its partner, in the right order."""
    open_: list[str] = []
    for sign in row:
        if open_ and open_[-1] + sign in PAIRS:
            open_.pop()
        else:
            open_.append(sign)
    return NO_YES[not open_]
