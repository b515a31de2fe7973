"""Small tasks about sums, differences and shares."""

from tinyllm.world.forms import FIRST_NAMES
from tinyllm.world.task import NO_YES, task


def _nuts(world, random, dials):
    a, b = random.integers(10**dials.size), random.integers(10**dials.size)
    return {"name": random.choice(FIRST_NAMES), "a": max(a, b), "b": min(a, b)}


def _digit_by_digit(name, a, b):
    digits, borrowed = "", 0
    for x, y in zip(f"{a:09}"[::-1], f"{b:09}"[::-1], strict=True):
        digit = int(x) - int(y) - borrowed
        borrowed = int(digit < 0)
        digits = str(digit % 10) + digits
    return digits.lstrip("0") or "0"


@task("{name} has {a:int} nuts and eats {b:int}. What is left?",
      "Of {a:int} nuts {name} gave away {b:int} and kept",
      size=(2, "how many digits the numbers have at most", 1, 6), draw=_nuts, second=_digit_by_digit,
      chance=lambda dials: 2 * (10**dials.size - 1) / 100**dials.size,  # of n^2 pairs, 2 (n - 1) differ by 1
      )  # fmt: skip
def difference(name: str, a: int, b: int) -> str:
    """Say how much is left of something."""
    return str(a - b)


def _plums(world, random, dials):
    k = 2 + random.integers(dials.size - 1)
    fair, each = random.integers(2), 1 + random.integers(12)
    return {"n": k * each + (0 if fair else 1 + random.integers(k - 1)), "k": k}


@task("Can {k:int} children share {n:int} plums fairly?", "Are {n:int} plums a fair share for {k:int}?",
      size=(5, "how many children at most", 2, 12), choices=NO_YES, draw=_plums,
      second=lambda n, k: NO_YES[n in range(0, n + 1, k)])  # fmt: skip
def fair_share(n: int, k: int) -> str:
    """Say if a number of things can be shared so that everybody gets as many."""
    return NO_YES[n % k == 0]


def _commonest_sum(dials):
    """Return 1/9 for one digit; else the largest share of sums, for which sums are counted."""
    counts = [0, *[1] * 9]
    for _ in range(dials.size - 1):
        counts = [sum(counts[max(0, s - 9) : s + 1]) for s in range(len(counts) + 9)]
    return max(counts) / sum(counts)


def _digits(world, random, dials):
    first = 10 ** (dials.size - 1)
    return {"n": first + random.integers(9 * first)}


def _by_division(n):
    total = 0
    while n:
        n, digit = divmod(n, 10)
        total += digit
    return str(total)


@task("The digits of {n:int} add up to", "Add the digits of {n:int}:",
      size=(3, "how many digits there are", 1, 9), chance=_commonest_sum, draw=_digits, second=_by_division,
      working=lambda truth, n: " ".join(truth(int(str(n)[: i + 1])) for i in range(len(str(n)))))  # fmt: skip
def digit_sum(n: int) -> str:
    """Add up the digits of a number."""
    return str(sum(map(int, str(n))))
