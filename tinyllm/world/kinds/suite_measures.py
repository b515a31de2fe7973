"""Write small tasks about units and coins, clocks, the calendar and birthdays."""

from functools import cache

from tinyllm.world.calendar import WEEKDAYS, Date
from tinyllm.world.document import attempts
from tinyllm.world.question import asks, pick

UNITS = {("weeks", "days"): 7, ("years", "months"): 12, ("months", "days"): 30, ("hours", "minutes"): 60,
         ("feet", "inches"): 12, ("yards", "feet"): 3, ("pounds", "ounces"): 16, ("shillings", "pence"): 12,
         ("gallons", "pints"): 8, ("minutes", "seconds"): 60}
COINS = (50, 20, 10, 5, 2, 1)


def _measure(random, size):
    large, small = random.choice(list(UNITS))
    return {"n": 2 + random.integers(size - 1), "large": large, "small": small}


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
      draw=lambda random, size: {"n": 1 + random.integers(size)},
      second=lambda n: " ".join(map(str, _fewest_coins()[n])))
def coins(n: int) -> str:
    """Pay a sum of money with as few coins as possible."""
    paid = []
    for coin in COINS:
        paid += [str(coin)] * (n // coin)
        n %= coin
    return " ".join(paid)


def _minute_by_minute(time, n):
    hours, minutes = map(int, time.split(":"))
    for _ in range(n):
        hours, minutes = (hours, minutes + 1) if minutes < 59 else ((hours + 1) % 24, 0)
    return f"{hours}:{minutes:02}"


@asks("{n:count} minutes after {time} it is", "The train of {time} takes {n:count} minutes. It arrives at",
      size=(60, "how many minutes at most", 2, 600), second=_minute_by_minute,
      draw=lambda random, size: {"time": f"{random.integers(24)}:{random.integers(60):02}",
                                 "n": 2 + random.integers(size - 1)})
def clock(time: str, n: int) -> str:
    """Say what time it is some minutes after a given time."""
    hours, minutes = map(int, time.split(":"))
    hours, minutes = divmod(60 * hours + minutes + n, 60)
    return f"{hours % 24}:{minutes:02}"


@asks("Today is {day}. In {n:count} days it will be", "What day is it {n:count} days after {day}?",
      size=(8, "how many days at most", 2, 99), choices=WEEKDAYS,
      draw=lambda random, size: {"day": random.choice(WEEKDAYS), "n": 2 + random.integers(size - 1)},
      second=lambda day, n: (WEEKDAYS * (n // 7 + 2))[n:][WEEKDAYS.index(day)])
def weekday_after(day: str, n: int) -> str:
    """Say which day of the week it is some days after a given day."""
    return WEEKDAYS[(WEEKDAYS.index(day) + n) % 7]


def _birthdays(world, random):
    for _ in attempts():
        one, two = pick(random, world.people, 2)
        if one.born != two.born:
            a, b = str(Date.of(one.born)), str(Date.of(two.born))
            return {"one": one.name, "a": a, "two": two.name, "b": b}


@asks("{one} was born on {a}, {two} on {b}. The older one is",
      "Birthdays: {one}, {a}; {two}, {b}. Who is older?",
      options=2, draw=_birthdays,
      second=lambda one, a, two, b: min((Date.read(a).number, one), (Date.read(b).number, two))[1])
def older(one: str, a: str, two: str, b: str) -> str:
    """Say which of two people is older, by their birthdays."""
    return one if Date.read(a) < Date.read(b) else two
