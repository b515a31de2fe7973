"""Small tasks about numbers."""

from typing import Any

from tinyllm.rng import Random
from tinyllm.world.task import FIRST_NAMES, NO_YES, Fields, Task, pick, sized
from tinyllm.world.world import World

ODD = ("even", "odd")


class Parity(Task):
    """Say if the number of lamps that are lit is odd or even."""

    Dials = sized(8, "how many lamps there are", 1, 40, steps=True)
    choices = ODD
    asks = ("Lamps: {lamps:row}. The number of lit lamps is", "Are the ones even or odd in {lamps:row}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"lamps": ["01"[random.integers(2)] for _ in range(dials.size)]}

    def truth(self, lamps: list[str]) -> str:
        return ODD[lamps.count("1") % 2]

    def second(self, lamps: list[str]) -> str:
        odd = False
        for lamp in lamps:
            odd ^= lamp == "1"
        return ODD[odd]

    def working(self, lamps: list[str]) -> str:
        return " ".join(ODD[lamps[: i + 1].count("1") % 2] for i in range(len(lamps)))


class Extreme(Task):
    """Find the largest or the smallest of some numbers."""

    Dials = sized(4, "how many numbers there are", 2, 12)
    asks = ("The {which} of {ns:ints} is", "Of {ns:ints}, find the {which}:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {
            "which": ("largest", "smallest")[random.integers(2)],
            "ns": pick(random, range(1, 100), dials.size),
        }

    def truth(self, which: str, ns: list[int]) -> str:
        return str(max(ns) if which == "largest" else min(ns))

    def second(self, which: str, ns: list[int]) -> str:
        best = ns[0]
        for n in ns:
            best = n if (n > best) == (which == "largest") else best
        return str(best)

    def chance(self, dials: Any) -> float:
        """Return the share of each number."""
        return 1 / dials.size


class SortNumbers(Task):
    """Put numbers into order, the smallest first."""

    Dials = sized(4, "how many numbers there are", 2, 12)
    asks = ("From small to large, {ns:ints} are", "The geese {ns:ints} line up by number:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"ns": pick(random, range(1, 100), dials.size)}

    def truth(self, ns: list[int]) -> str:
        return ", ".join(map(str, sorted(ns)))

    def second(self, ns: list[int]) -> str:
        return ", ".join(str(n) for n in range(100) if n in ns)


class Difference(Task):
    """Say how much is left of something."""

    Dials = sized(2, "how many digits the numbers have at most", 1, 6)
    asks = ("{name} has {a:int} nuts and eats {b:int}. What is left?",
            "Of {a:int} nuts {name} gave away {b:int} and kept")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        a, b = random.integers(10**dials.size), random.integers(10**dials.size)
        return {"name": random.choice(FIRST_NAMES), "a": max(a, b), "b": min(a, b)}

    def truth(self, name: str, a: int, b: int) -> str:
        return str(a - b)

    def second(self, name: str, a: int, b: int) -> str:
        digits, borrowed = "", 0
        for x, y in zip(f"{a:09}"[::-1], f"{b:09}"[::-1], strict=True):
            digit = int(x) - int(y) - borrowed
            borrowed = int(digit < 0)
            digits = str(digit % 10) + digits
        return digits.lstrip("0") or "0"

    def chance(self, dials: Any) -> float:
        """Return the share of the most frequent difference, 1: for n numbers 2 (n - 1) of n^2 pairs."""
        return 2 * (10**dials.size - 1) / 100**dials.size


class Compare(Task):
    """Say if a number is less than another, more, or equal."""

    Dials = sized(2, "how many digits the numbers have at most", 1, 6)
    choices = ("less", "equal", "more")
    asks = ("Compared with {b:int}, the number {a:int} is", "Is {a:int} less or more than {b:int}, or equal?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        low, high = sorted(pick(random, range(10**dials.size), 2))
        a, b = ((low, high), (low, low), (high, low))[random.integers(3)]
        return {"a": a, "b": b}

    def truth(self, a: int, b: int) -> str:
        return self.choices[(a > b) - (a < b) + 1]

    def second(self, a: int, b: int) -> str:
        x, y = f"{a:09}", f"{b:09}"  # of equal length, so the order of letters is that of numbers
        return "equal" if x == y else ("more", "less")[x < y]


class NextNumber(Task):
    """Go on with numbers that grow by equal steps."""

    Dials = sized(9, "the largest step", 1, 99)
    asks = ("The frog jumps from {ns:ints} to", "Count on: {ns:ints} and then")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        start, step = random.integers(40), 1 + random.integers(dials.size)
        return {"ns": [start + i * step for i in range(4)]}

    def truth(self, ns: list[int]) -> str:
        return str(2 * ns[-1] - ns[-2])

    def second(self, ns: list[int]) -> str:
        return str(ns[0] + (ns[1] - ns[0]) * len(ns))


class FairShare(Task):
    """Say if a number of things can be shared so that everybody gets as many."""

    Dials = sized(5, "how many children at most", 2, 12)
    choices = NO_YES
    asks = ("Can {k:int} children share {n:int} plums fairly?", "Are {n:int} plums a fair share for {k:int}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        k = 2 + random.integers(dials.size - 1)
        fair, each = random.integers(2), 1 + random.integers(12)
        return {"n": k * each + (0 if fair else 1 + random.integers(k - 1)), "k": k}

    def truth(self, n: int, k: int) -> str:
        return NO_YES[n % k == 0]

    def second(self, n: int, k: int) -> str:
        return NO_YES[n in range(0, n + 1, k)]


class DigitSum(Task):
    """Add up the digits of a number."""

    Dials = sized(3, "how many digits there are", 1, 9, steps=True)
    asks = ("The digits of {n:int} add up to", "Add the digits of {n:int}:")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": 10 ** (dials.size - 1) + random.integers(9 * 10 ** (dials.size - 1))}

    def truth(self, n: int) -> str:
        return str(sum(map(int, str(n))))

    def second(self, n: int) -> str:
        total = 0
        while n:
            n, digit = divmod(n, 10)
            total += digit
        return str(total)

    def working(self, n: int) -> str:
        return " ".join(self.truth(int(str(n)[: i + 1])) for i in range(len(str(n))))

    def chance(self, dials: Any) -> float:
        """Return 1/9 for one digit; else the largest share of sums, for which sums are counted."""
        counts = [0, *[1] * 9]
        for _ in range(dials.size - 1):
            counts = [sum(counts[max(0, s - 9) : s + 1]) for s in range(len(counts) + 9)]
        return max(counts) / sum(counts)
