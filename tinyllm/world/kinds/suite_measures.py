"""Write small tasks about units and coins."""

from functools import cache

from tinyllm.world.question import asks

UNITS = {("weeks", "days"): 7, ("years", "months"): 12, ("months", "days"): 30, ("hours", "minutes"): 60,
         ("feet", "inches"): 12, ("yards", "feet"): 3, ("pounds", "ounces"): 16, ("shillings", "pence"): 12,
         ("gallons", "pints"): 8, ("minutes", "seconds"): 60}
COINS = (50, 20, 10, 5, 2, 1)


def _measure(world, random, dials):
    large, small = random.choice(list(UNITS))
    return {"n": 2 + random.integers(dials.size - 1), "large": large, "small": small}


@asks("How many {small} are {n:count} {large}?", "In {n:count} {large}, the number of {small} is",
      size=(10, "the largest number", 2, 99), draw=_measure,
      second=lambda n, large, small: str(sum([UNITS[large, small]] * n)))
def convert(n: int, large: str, small: str) -> str:
    """Convert a measure into a smaller unit."""
    return str(n * UNITS[large, small])


@cache
def _fewest_coins():
    """Return for each sum the shortest row of coins, found from all smaller sums."""
    few: list[list[int]] = [[]]
    for total in range(1, 1000):
        rows = [sorted([*few[total - coin], coin], reverse=True) for coin in COINS if coin <= total]
        few.append(min(rows, key=len))
    return few


@asks("With coins of 50, 20, 10, 5, 2 and 1, pay {n:count}:", "The fewest coins for {n:count} pence are",
      size=(60, "the largest sum in pence", 2, 999), options="size",
      draw=lambda world, random, dials: {"n": 1 + random.integers(dials.size)},
      second=lambda n: " ".join(map(str, _fewest_coins()[n])))
def coins(n: int) -> str:
    """Pay a sum of money with as few coins as possible."""
    paid = []
    for coin in COINS:
        paid += [str(coin)] * (n // coin)
        n %= coin
    return " ".join(paid)
