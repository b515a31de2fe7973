"""Small tasks about ways to write a number."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world.names import words
from tinyllm.world.task import Fields, Task, sized
from tinyllm.world.world import World

ROMAN = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
         (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))  # fmt: skip
ONES = words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
""")
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")


class Roman(Task):
    """Write a number as the Romans did."""

    Dials = sized(60, "the largest number", 2, 3999)
    asks = ("A Roman stonemason writes {n:int} as", "In Roman numerals, {n:int} is")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": 1 + random.integers(dials.size)}

    def truth(self, n: int) -> str:
        text = ""
        for value, letters in ROMAN:
            text += letters * (n // value)
            n %= value
        return text

    def second(self, n: int) -> str:
        digit = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
        text = ""
        for k, signs in enumerate(("IVX", "XLC", "CDM", "M??")):
            text = digit[n // 10**k % 10].translate(str.maketrans("ivx", signs)) + text
        return text

    def chance(self, dials: Any) -> float:
        """Return the share of each number."""
        return 1 / dials.size


class Binary(Task):
    """Write a number with ones and zeros."""

    Dials = sized(31, "the largest number", 1, 4095)
    asks = ("Counted in twos, {n:int} is", "In ones and zeros, {n:int} is written")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": random.integers(dials.size + 1)}

    def truth(self, n: int) -> str:
        return f"{n:b}"

    def second(self, n: int) -> str:
        bits = ""
        while n > 1:
            n, bits = n // 2, "01"[n % 2] + bits
        return "01"[n] + bits

    def chance(self, dials: Any) -> float:
        """Return the share of each number."""
        return 1 / (dials.size + 1)


class Ordinal(Task):
    """Write the ordinal of a number: 21 -> 21st."""

    Dials = sized(120, "the largest number", 2, 9999)
    asks = ("After {n:int} others, the goose is the", "One more than {n:int} geese; the last goose is the")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": random.integers(dials.size)}

    def truth(self, n: int) -> str:
        n += 1
        return f"{n}{'th' if n // 10 % 10 == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"

    def second(self, n: int) -> str:
        n += 1
        endings = ["th", "st", "nd", "rd", *["th"] * 6]
        return f"{n}{'th' if n % 100 in (11, 12, 13) else endings[n % 10]}"

    def chance(self, dials: Any) -> float:
        """Return the share of each number."""
        return 1 / dials.size


class NumberWord(Task):
    """Write a number in words."""

    Dials = sized(99, "the largest number", 1, 999)
    asks = ("In words, {n:int} is", "Write {n:int} as you say it:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": random.integers(dials.size + 1)}

    def truth(self, n: int) -> str:
        if n < 20:
            return ONES[n]
        if n < 100:
            return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
        return f"{ONES[n // 100]} hundred" + (f" and {self.truth(n % 100)}" if n % 100 else "")

    def second(self, n: int) -> str:
        below = ONES + [f"{ten}-{one}".removesuffix("-zero") for ten in TENS for one in ONES[:10]]
        hundreds, rest = divmod(n, 100)
        said = [f"{ONES[hundreds]} hundred"] * (hundreds > 0) + [below[rest]] * (rest > 0 or n == 0)
        return " and ".join(said)

    def chance(self, dials: Any) -> float:
        """Return the share of each number."""
        return 1 / (dials.size + 1)
