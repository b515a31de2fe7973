"""Small tasks about units, money, clocks and the calendar."""

from functools import cache

from tinyllm.world.calendar import MONTHS, WEEKDAYS
from tinyllm.world.names import THINGS, a
from tinyllm.world.task import FIRST_NAMES, task

UNITS = {("weeks", "days"): 7, ("years", "months"): 12, ("months", "days"): 30, ("hours", "minutes"): 60,
         ("feet", "inches"): 12, ("yards", "feet"): 3, ("pounds", "ounces"): 16, ("shillings", "pence"): 12,
         ("gallons", "pints"): 8, ("minutes", "seconds"): 60, ("dozens", "eggs"): 12}  # fmt: skip
COINS = (50, 20, 10, 5, 2, 1)


def _measure(world, random, dials):
    large, small = random.choice(list(UNITS))
    return {"n": 2 + random.integers(dials.size - 1), "large": large, "small": small}


@task("How many {small} are {n:int} {large}?", "In {n:int} {large}, the number of {small} is",
      size=(10, "the largest number", 2, 99), draw=_measure,
      second=lambda n, large, small: str(sum([UNITS[large, small]] * n)))  # fmt: skip
def convert(n: int, large: str, small: str) -> str:
    """Say a measure in a smaller unit."""
    return str(n * UNITS[large, small])


def _time(world, random, dials):
    hours, minutes = random.integers(24), random.integers(60)
    return {"time": f"{hours}:{minutes:02}", "n": 2 + random.integers(dials.size - 1)}


def _minute_by_minute(time, n):
    hours, minutes = map(int, time.split(":"))
    for _ in range(n):
        hours, minutes = (hours, minutes + 1) if minutes < 59 else ((hours + 1) % 24, 0)
    return f"{hours}:{minutes:02}"


@task("{n:int} minutes after {time} it is", "The train of {time} takes {n:int} minutes. It arrives at",
      size=(60, "how many minutes at most", 2, 600), draw=_time, second=_minute_by_minute)  # fmt: skip
def clock(time: str, n: int) -> str:
    """Tell the time some minutes after a time."""
    hours, minutes = map(int, time.split(":"))
    hours, minutes = divmod(60 * hours + minutes + n, 60)
    return f"{hours % 24}:{minutes:02}"


@cache
def _fewest_coins():
    """Return for each sum the shortest row of coins, found from all smaller sums."""
    few: list[list[int]] = [[]]
    for total in range(1, 1000):
        rows = [sorted([*few[total - coin], coin], reverse=True) for coin in COINS if coin <= total]
        few.append(min(rows, key=len))
    return few


@task("With coins of 50, 20, 10, 5, 2 and 1, pay {n:int}:", "The fewest coins for {n:int} pence are",
      size=(60, "the largest sum in pence", 2, 999), options="size",
      draw=lambda world, random, dials: {"n": 1 + random.integers(dials.size)},
      second=lambda n: " ".join(map(str, _fewest_coins()[n])))  # fmt: skip
def coins(n: int) -> str:
    """Pay with as few coins as possible."""
    paid = []
    for coin in COINS:
        paid += [str(coin)] * (n // coin)
        n %= coin
    return " ".join(paid)


def _purchase(world, random, dials):
    price = 2 + random.integers(dials.size - 2)
    paid = price + random.integers(dials.size + 1 - price)
    name, ware = random.choice(FIRST_NAMES), a(random.choice(THINGS))
    return {"name": name, "ware": ware, "price": price, "paid": paid}


def _no_change(dials):
    """Return the share of no change at all, which every price allows."""
    return sum(1 / (dials.size + 1 - price) for price in range(2, dials.size)) / (dials.size - 2)


@task("{name} buys {ware} for {price:int} pence and pays with {paid:int}. The change is",
      "{name} has {paid:int} pence. After paying {price:int} for {ware}, what is left?",
      size=(20, "the highest price", 3, 500), chance=_no_change, draw=_purchase,
      second=lambda name, ware, price, paid: str(len(range(price, paid))))  # fmt: skip
def change(name: str, ware: str, price: int, paid: int) -> str:
    """Say how much money comes back."""
    return str(paid - price)


def _of(key, table):
    """Return a function that draws one of a table and how far to go from there."""
    return lambda world, random, dials: {key: random.choice(table), "n": 2 + random.integers(dials.size - 1)}


@task("Today is {day}. In {n:int} days it will be", "What day is it {n:int} days after {day}?",
      size=(8, "how many days at most", 2, 99), choices=WEEKDAYS, draw=_of("day", WEEKDAYS),
      second=lambda day, n: (WEEKDAYS * (n // 7 + 2))[n:][WEEKDAYS.index(day)])  # fmt: skip
def weekday_after(day: str, n: int) -> str:
    """Name the day of the week some days after another."""
    return WEEKDAYS[(WEEKDAYS.index(day) + n) % 7]


def _month_by_month(month, n):
    later = dict(zip(MONTHS, MONTHS[1:] + MONTHS[:1], strict=True))
    for _ in range(n):
        month = later[month]
    return month


@task("It is {month}. {n:int} months on, it is", "Which month comes {n:int} months after {month}?",
      size=(5, "how many months at most", 2, 48), choices=MONTHS, draw=_of("month", MONTHS),
      second=_month_by_month)  # fmt: skip
def month_after(month: str, n: int) -> str:
    """Name the month some months after another."""
    return MONTHS[(MONTHS.index(month) + n) % 12]
