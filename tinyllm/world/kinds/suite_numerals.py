"""Small tasks about ways to write a number."""

from tinyllm.world.names import words
from tinyllm.world.task import task

ROMAN = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
         (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))  # fmt: skip
ONES = words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
""")
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")


def _from_zero(world, random, dials):
    return {"n": random.integers(dials.size + 1)}


def _one_of_size_and_zero(dials):
    return 1 / (dials.size + 1)


def _digit_by_digit(n):
    digit = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    text = ""
    for k, signs in enumerate(("IVX", "XLC", "CDM", "M??")):
        text = digit[n // 10**k % 10].translate(str.maketrans("ivx", signs)) + text
    return text


@task("A Roman stonemason writes {n:int} as", "In Roman numerals, {n:int} is",
      size=(60, "the largest number", 2, 3999), options="size", second=_digit_by_digit,
      draw=lambda world, random, dials: {"n": 1 + random.integers(dials.size)})  # fmt: skip
def roman(n: int) -> str:
    """Write a number as the Romans did."""
    text = ""
    for value, letters in ROMAN:
        text += letters * (n // value)
        n %= value
    return text


def _halve(n):
    bits = ""
    while n > 1:
        n, bits = n // 2, "01"[n % 2] + bits
    return "01"[n] + bits


@task("Counted in twos, {n:int} is", "In ones and zeros, {n:int} is written",
      size=(31, "the largest number", 1, 4095), chance=_one_of_size_and_zero,
      draw=_from_zero, second=_halve)  # fmt: skip
def binary(n: int) -> str:
    """Write a number with ones and zeros."""
    return f"{n:b}"


def _by_table(n):
    endings = ["th", "st", "nd", "rd", *["th"] * 6]
    return f"{n + 1}{'th' if (n + 1) % 100 in (11, 12, 13) else endings[(n + 1) % 10]}"


@task("After {n:int} others, the goose is the", "One more than {n:int} geese; the last goose is the",
      size=(120, "the largest number", 2, 9999), options="size", second=_by_table,
      draw=lambda world, random, dials: {"n": random.integers(dials.size)})  # fmt: skip
def ordinal(n: int) -> str:
    """Write the ordinal of a number: 21 -> 21st."""
    n += 1
    return f"{n}{'th' if n // 10 % 10 == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def _in_parts(n):
    below = ONES + [f"{ten}-{one}".removesuffix("-zero") for ten in TENS for one in ONES[:10]]
    hundreds, rest = divmod(n, 100)
    said = [f"{ONES[hundreds]} hundred"] * (hundreds > 0) + [below[rest]] * (rest > 0 or n == 0)
    return " and ".join(said)


@task("In words, {n:int} is", "Write {n:int} as you say it:",
      size=(99, "the largest number", 1, 999), chance=_one_of_size_and_zero,
      draw=_from_zero, second=_in_parts)  # fmt: skip
def number_word(n: int) -> str:
    """Write a number in words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" and {number_word.truth(n % 100)}" if n % 100 else "")
