"""Write small tasks about ways to write a number."""

from tinyllm.world.names import words
from tinyllm.world.question import asks

ROMAN = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
         (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
ONES = words("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen
""")
TENS = words("twenty thirty forty fifty sixty seventy eighty ninety")


def _digit_by_digit(n):
    digit = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    text = ""
    for k, signs in enumerate(("IVX", "XLC", "CDM", "M??")):
        text = digit[n // 10**k % 10].translate(str.maketrans("ivx", signs)) + text
    return text


@asks("A Roman stonemason writes {n:count} as", "In Roman numerals, {n:count} is",
      size=(60, "the largest number", 2, 3999), options="size", second=_digit_by_digit,
      draw=lambda world, random, dials: {"n": 1 + random.integers(dials.size)})
def roman(n: int) -> str:
    """Write a number in Roman numerals."""
    text = ""
    for value, letters in ROMAN:
        text += letters * (n // value)
        n %= value
    return text


def _in_parts(n):
    below = ONES + [f"{ten}-{one}".removesuffix("-zero") for ten in TENS for one in ONES[:10]]
    hundreds, rest = divmod(n, 100)
    said = [f"{ONES[hundreds]} hundred"] * (hundreds > 0) + [below[rest]] * (rest > 0 or n == 0)
    return " and ".join(said)


@asks("In words, {n:int} is", "Write {n:int} as you say it:",
      size=(99, "the largest number", 1, 999), chance=lambda dials: 1 / (dials.size + 1),
      draw=lambda world, random, dials: {"n": random.integers(dials.size + 1)}, second=_in_parts)
def number_word(n: int) -> str:
    """Write a number in words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" and {number_word.truth(n % 100)}" if n % 100 else "")
