"""Write small tasks about codes: short forms, ciphers, brackets."""

from itertools import groupby, pairwise
from string import ascii_lowercase as ABC

from tinyllm.world.question import NO_YES, WORDS, asks, pick

PAIRS = ("()", "[]", "{}")


def _runs(world, random, dials):
    letters: list[str] = []
    for _ in range(dials.size):
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
      draw=lambda world, random, dials: {"words": pick(random, WORDS, dials.size)},
      second=lambda words: "".join(y for x, y in pairwise(f" {' '.join(words)}") if x == " "))
def acronym(words: list[str]) -> str:
    """Write the first letters of some words as one word."""
    return "".join(word[0] for word in words)


@asks("Each letter moves on by {n:count}: {word} becomes", "The spy moves {word} on by {n:count}:",
      size=(1, "how far letters move at most", 1, 25),
      draw=lambda world, random, dials: {"n": 1 + random.integers(dials.size), "word": random.choice(WORDS)},
      second=lambda n, word: word.translate(str.maketrans(ABC, ABC[n:] + ABC[:n])))
def secret_writing(n: int, word: str) -> str:
    """Write a word in a cipher that moves every letter on in the alphabet; a follows z."""
    return "".join(ABC[(ABC.index(letter) + n) % 26] for letter in word)


def _brackets(world, random, dials):
    row: list[str] = []
    for _ in range(dials.size):  # a pair goes around a balanced part, or beside it
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
