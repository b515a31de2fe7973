"""Small tasks about numbers."""

from tinyllm.world.task import pick, task

ODD = ("even", "odd")


@task("Lamps: {lamps:row}. The number of lit lamps is", "Are the ones even or odd in {lamps:row}?",
      size=(8, "how many lamps there are", 1, 40), choices=ODD,
      draw=lambda world, random, dials: {"lamps": ["01"[random.integers(2)] for _ in range(dials.size)]},
      second=lambda lamps: ODD[sum(map(int, lamps)) & 1],
      working=lambda truth, lamps: " ".join(truth(lamps[: i + 1]) for i in range(len(lamps))))  # fmt: skip
def parity(lamps: list[str]) -> str:
    """Say if the number of lamps that are lit is odd or even."""
    odd = False
    for lamp in lamps:
        odd ^= lamp == "1"
    return ODD[odd]


def _numbers(world, random, dials):
    return {"ns": pick(random, range(1, 100), dials.size)}


@task("The {which} of {ns:ints} is", "Of {ns:ints}, find the {which}:",
      size=(4, "how many numbers there are", 2, 12), options="size",
      draw=lambda world, random, dials: {"which": ("largest", "smallest")[random.integers(2)],
                                         **_numbers(world, random, dials)},
      second=lambda which, ns: str(sorted(ns)[-1 if which == "largest" else 0]))  # fmt: skip
def extreme(which: str, ns: list[int]) -> str:
    """Find the largest or the smallest of some numbers."""
    return str(max(ns) if which == "largest" else min(ns))


@task("From small to large, {ns:ints} are", "The geese {ns:ints} line up by number:",
      size=(4, "how many numbers there are", 2, 12), draw=_numbers,
      second=lambda ns: ", ".join(str(n) for n in range(100) if n in ns))  # fmt: skip
def sort_numbers(ns: list[int]) -> str:
    """Put numbers into order, the smallest first."""
    return ", ".join(map(str, sorted(ns)))


def _two_numbers(world, random, dials):
    low, high = sorted(pick(random, range(10**dials.size), 2))
    return dict(zip("ab", ((low, high), (low, low), (high, low))[random.integers(3)], strict=True))


@task("Compared with {b:int}, the number {a:int} is", "Is {a:int} less or more than {b:int}, or equal?",
      size=(2, "how many digits the numbers have at most", 1, 6), choices=("less", "equal", "more"),
      draw=_two_numbers,
      second=lambda a, b: "less" if f"{a:09}" < f"{b:09}" else "more" if f"{a:09}" > f"{b:09}" else "equal",
      )  # fmt: skip
def compare(a: int, b: int) -> str:
    """Say if a number is less than another, more, or equal."""
    return compare.choices[(a > b) - (a < b) + 1]


def _steps(world, random, dials):
    start, step = random.integers(40), 1 + random.integers(dials.size)
    return {"ns": [start + i * step for i in range(4)]}


@task("The frog jumps from {ns:ints} to", "Count on: {ns:ints} and then",
      size=(9, "the largest step", 1, 99), draw=_steps,
      second=lambda ns: str(ns[0] + (ns[1] - ns[0]) * len(ns)))  # fmt: skip
def next_number(ns: list[int]) -> str:
    """Go on with numbers that grow by equal steps."""
    return str(2 * ns[-1] - ns[-2])
