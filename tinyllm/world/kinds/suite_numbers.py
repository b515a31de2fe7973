"""Write small tasks about numbers: their order, sums and shares, and ways to write them."""

from tinyllm.world.names import words
from tinyllm.world.question import NO_YES, asks, dials, pick

ODD = ("even", "odd")


@asks("Lamps: {lamps:row}. The number of lit lamps is", "Are the ones even or odd in {lamps:row}?",
      size=(8, "how many lamps there are", 1, 40), choices=ODD,
      draw=lambda random, size: {"lamps": ["01"[random.integers(2)] for _ in range(size)]},
      second=lambda lamps: ODD[sum(map(int, lamps)) & 1],
      working=lambda truth, lamps: " ".join(truth(lamps[: i + 1]) for i in range(len(lamps))))
def parity(lamps: list[str]) -> str:
    """Say if the number of lamps that are lit is odd or even."""
    odd = False
    for lamp in lamps:
        odd ^= lamp == "1"
    return ODD[odd]


@asks("The {which} of {ns:ints} is", "Of {ns:ints}, find the {which}:",
      size=(4, "how many numbers there are", 2, 12), options="size",
      draw=lambda random, size: {"which": ("largest", "smallest")[random.integers(2)],
                                 "ns": pick(random, range(1, 100), size)},
      second=lambda which, ns: str(sorted(ns)[-1 if which == "largest" else 0]))
def extreme(which: str, ns: list[int]) -> str:
    """Find the largest or the smallest of some numbers."""
    return str(max(ns) if which == "largest" else min(ns))


def _two_numbers(random, size):
    low, high = sorted(pick(random, range(10**size), 2))
    return dict(zip("ab", ((low, high), (low, low), (high, low))[random.integers(3)], strict=True))


@asks("Compared with {b:int}, the number {a:int} is", "Is {a:int} less or more than {b:int}, or equal?",
      size=(2, "how many digits the numbers have at most", 1, 6), choices=("less", "equal", "more"),
      draw=_two_numbers,
      second=lambda a, b: "less" if f"{a:09}" < f"{b:09}" else "more" if f"{a:09}" > f"{b:09}" else "equal")
def compare(a: int, b: int) -> str:
    """Say if a number is less than, more than, or equal to another number."""
    return compare.choices[(a > b) - (a < b) + 1]


def _steps(random, size):
    start, step = random.integers(40), 1 + random.integers(size)
    return {"ns": [start + i * step for i in range(4)]}


@asks("The frog jumps from {ns:ints} to", "Count on: {ns:ints} and then",
      size=(9, "the largest step", 1, 99), draw=_steps,
      second=lambda ns: str(ns[0] + (ns[1] - ns[0]) * len(ns)))
def next_number(ns: list[int]) -> str:
    """Continue a row of numbers that grow by equal steps."""
    return str(2 * ns[-1] - ns[-2])


def _plums(random, size):
    k = 2 + random.integers(size - 1)
    fair, each = random.integers(2), 1 + random.integers(12)
    return {"n": k * each + (0 if fair else 1 + random.integers(k - 1)), "k": k}


@asks("Can {k:count} children share {n:count} plums fairly?",
      "Are {n:count} plums a fair share for {k:count}?",
      size=(5, "how many children at most", 2, 12), choices=NO_YES, draw=_plums,
      second=lambda n, k: NO_YES[n in range(0, n + 1, k)])
def fair_share(n: int, k: int) -> str:
    """Say if things can be shared so that every child gets the same number."""
    return NO_YES[n % k == 0]


def _commonest_sum(dials):
    """Return the score of the best constant answer: the share of the most frequent digit sum."""
    counts = [0, *[1] * 9]
    for _ in range(dials.size - 1):
        counts = [sum(counts[max(0, s - 9) : s + 1]) for s in range(len(counts) + 9)]
    return max(counts) / sum(counts)


def _by_division(n):
    total = 0
    while n:
        n, digit = divmod(n, 10)
        total += digit
    return str(total)


@asks("The digits of {n:int} add up to", "Add the digits of {n:int}:",
      size=(3, "how many digits there are", 1, 9), chance=_commonest_sum, second=_by_division,
      draw=lambda random, size: {"n": 10 ** (size - 1) + random.integers(9 * 10 ** (size - 1))},
      working=lambda truth, n: " ".join(truth(int(str(n)[: i + 1])) for i in range(len(str(n)))))
def digit_sum(n: int) -> str:
    """Add up the digits of a number."""
    return str(sum(map(int, str(n))))


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
      draw=lambda random, size: {"n": 1 + random.integers(size)})
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
      draw=lambda random, size: {"n": random.integers(size + 1)}, second=_in_parts)
def number_word(n: int) -> str:
    """Write a number in words."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    return f"{ONES[n // 100]} hundred" + (f" and {number_word.truth(n % 100)}" if n % 100 else "")


def _summands(document):
    a, sign, b, *_ = document.prompt.split()
    return sign, *sorted((a, b))


def _with_digits(random, digits):
    number = random.integers(10) if digits == 1 else 1 + random.integers(9)
    for _ in range(digits - 1):
        number = 10 * number + random.integers(10)
    return number


def _columns(a, b):
    """Return the worked step of each column, the ones first, such as "7+5+1=13": two digits and the carry."""
    carry, steps = 0, []
    for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True):
        here = int(x) + int(y) + carry
        steps.append(f"{x}+{y}+{carry}={here}")
        carry = here // 10
    return " ".join(steps)


def _by_columns(a, b):
    """Solve independently: add lists of digits, and carry only at the end."""
    places = [int(x) + int(y) for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True)] + [0]
    for i in range(len(places) - 1):
        places[i + 1] += places[i] // 10
        places[i] %= 10
    return "".join(map(str, places)).rstrip("0")[::-1] or "0"


@asks("{a:int} + {b:int} =", group="reasoning",
      chance=lambda dials: 1 / 10 if dials.digits == 1 else 1 / (9 * 10 ** (dials.digits - 1)),
      draw=lambda random, digits: {name: _with_digits(random, digits) for name in "ab"},
      second=_by_columns, working=_columns, labels=lambda a, b: {"a": a, "b": b, "sign": "+"},
      splits={"numbers": _summands},
      Dials=dials(digits=(3, "how many digits both numbers have", 1, 12),
                  steps=(False, "work it out digit by digit before the answer")))
def arithmetic(a: int, b: int) -> str:
    """Add two numbers, with or without the steps in between."""
    return str(a + b)
