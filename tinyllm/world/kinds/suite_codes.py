"""Small tasks about codes: short forms, ciphers, brackets."""

from itertools import groupby
from string import ascii_lowercase as ABC
from typing import Any

from tinyllm.rng import Random
from tinyllm.world.task import NO_YES, WORDS, Fields, Task, pick, sized
from tinyllm.world.world import World

PAIRS = ("()", "[]", "{}")


class RunLength(Task):
    """Say how many equal letters follow each other: a a b -> 2a 1b."""

    Dials = sized(3, "how many runs there are", 1, 12)
    asks = ("Told in short, {letters:row} is", "{letters:row} can be packed as")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        letters: list[str] = []
        for _ in range(dials.size):
            new = random.choice("abcd".replace(letters[-1], "") if letters else "abcd")
            letters += [new] * (1 + random.integers(4))
        return {"letters": letters}

    def truth(self, letters: list[str]) -> str:
        return " ".join(f"{len(list(run))}{letter}" for letter, run in groupby(letters))

    def second(self, letters: list[str]) -> str:
        ends = [i for i in range(1, len(letters) + 1) if letters[i - 1 : i] != letters[i : i + 1]]
        return " ".join(f"{end - i}{letters[i]}" for i, end in zip([0, *ends], ends, strict=False))


class Acronym(Task):
    """Put the first letters of some words together."""

    Dials = sized(4, "how many words there are", 2, 10)
    asks = ("Take the first letters of {words:list}:", "The first letters of {words:list} make")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"words": pick(random, WORDS, dials.size)}

    def truth(self, words: list[str]) -> str:
        return "".join(word[0] for word in words)

    def second(self, words: list[str]) -> str:
        line = " " + " ".join(words)
        return "".join(line[i + 1] for i in range(len(line)) if line[i] == " ")


class NextLetter(Task):
    """Go some letters on or back in the alphabet."""

    Dials = sized(2, "how far to go at most", 1, 12)
    asks = ("In the alphabet, {n:int} {side} {letter} is", "Which letter is {n:int} {side} {letter}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        goal, n = random.integers(26), 1 + random.integers(dials.size)
        after = goal >= n if goal < n or goal + n > 25 else bool(random.integers(2))
        letter = ABC[goal - n if after else goal + n]
        return {"n": n, "side": "after" if after else "before", "letter": letter}

    def truth(self, n: int, side: str, letter: str) -> str:
        return chr(ord(letter) + (n if side == "after" else -n))

    def second(self, n: int, side: str, letter: str) -> str:
        alphabet = ABC if side == "after" else ABC[::-1]
        return alphabet.partition(letter)[2][n - 1]

    def chance(self, dials: Any) -> float:
        """Return the share of each letter."""
        return 1 / 26


class SecretWriting(Task):
    """Write a word in a cipher that moves every letter on in the alphabet, from z to a."""

    Dials = sized(1, "how far letters move at most", 1, 25)
    asks = ("Each letter moves on by {n:int}: {word} becomes", "The spy moves {word} on by {n:int}:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": 1 + random.integers(dials.size), "word": random.choice(WORDS)}

    def truth(self, n: int, word: str) -> str:
        return "".join(ABC[(ABC.index(letter) + n) % 26] for letter in word)

    def second(self, n: int, word: str) -> str:
        return word.translate(str.maketrans(ABC, ABC[n:] + ABC[:n]))


class Brackets(Task):
    """Say if every bracket is closed by its partner, in the right order."""

    Dials = sized(4, "how many pairs of brackets", 1, 20)
    choices = NO_YES
    asks = ("Does each bracket of {row:row} find its partner?", "Is {row:row} balanced?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        row: list[str] = []
        for _ in range(dials.size):  # a pair goes around a balanced part, or beside it
            (left, right), i = random.choice(PAIRS), random.integers(2)
            row = [left, *row, right] if i else [*row, left, right]
        if random.integers(2):
            i = random.integers(len(row))
            row[i] = random.choice([sign for pair in PAIRS for sign in pair if sign != row[i]])
        return {"row": row}

    def truth(self, row: list[str]) -> str:
        open_: list[str] = []
        for sign in row:
            if open_ and open_[-1] + sign in PAIRS:
                open_.pop()
            else:
                open_.append(sign)
        return NO_YES[not open_]

    def second(self, row: list[str]) -> str:
        text = "".join(row)
        for _ in row:
            for pair in PAIRS:
                text = text.replace(pair, "")
        return NO_YES[text == ""]
