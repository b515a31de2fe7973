"""Small tasks about units, money, clocks and the calendar."""

from functools import cache
from typing import Any

from tinyllm.rng import Random
from tinyllm.world.calendar import MONTHS, WEEKDAYS
from tinyllm.world.names import THINGS, a
from tinyllm.world.task import FIRST_NAMES, Fields, Task, sized
from tinyllm.world.world import World

UNITS = {("weeks", "days"): 7, ("years", "months"): 12, ("months", "days"): 30, ("hours", "minutes"): 60,
         ("feet", "inches"): 12, ("yards", "feet"): 3, ("pounds", "ounces"): 16, ("shillings", "pence"): 12,
         ("gallons", "pints"): 8, ("minutes", "seconds"): 60, ("dozens", "eggs"): 12}  # fmt: skip
COINS = (50, 20, 10, 5, 2, 1)


class Convert(Task):
    """Say a measure in a smaller unit."""

    Dials = sized(10, "the largest number", 2, 99)
    asks = ("How many {small} are {n:int} {large}?", "In {n:int} {large}, the number of {small} is")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        large, small = random.choice(list(UNITS))
        return {"n": 2 + random.integers(dials.size - 1), "large": large, "small": small}

    def truth(self, n: int, large: str, small: str) -> str:
        return str(n * UNITS[large, small])

    def second(self, n: int, large: str, small: str) -> str:
        return str(sum(UNITS[large, small] for _ in range(n)))


class Clock(Task):
    """Tell the time some minutes after a time."""

    Dials = sized(60, "how many minutes at most", 2, 600)
    asks = ("{n:int} minutes after {time} it is", "The train of {time} takes {n:int} minutes. It arrives at")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        hours, minutes = random.integers(24), random.integers(60)
        return {"time": f"{hours}:{minutes:02}", "n": 2 + random.integers(dials.size - 1)}

    def truth(self, time: str, n: int) -> str:
        hours, minutes = map(int, time.split(":"))
        hours, minutes = divmod(60 * hours + minutes + n, 60)
        return f"{hours % 24}:{minutes:02}"

    def second(self, time: str, n: int) -> str:
        hours, minutes = map(int, time.split(":"))
        for _ in range(n):
            minutes += 1
            if minutes == 60:
                hours, minutes = (hours + 1) % 24, 0
        return f"{hours}:{minutes:02}"


class Coins(Task):
    """Pay with as few coins as possible."""

    Dials = sized(60, "the largest sum in pence", 2, 999)
    asks = ("With coins of 50, 20, 10, 5, 2 and 1, pay {n:int}:", "The fewest coins for {n:int} pence are")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"n": 1 + random.integers(dials.size)}

    def truth(self, n: int) -> str:
        paid = []
        for coin in COINS:
            paid += [str(coin)] * (n // coin)
            n %= coin
        return " ".join(paid)

    def second(self, n: int) -> str:
        return " ".join(map(str, _fewest_coins()[n]))

    def chance(self, dials: Any) -> float:
        """Return the share of each sum."""
        return 1 / dials.size


@cache
def _fewest_coins():
    """Return for each sum the shortest row of coins, found from all smaller sums."""
    few: list[list[int]] = [[]]
    for total in range(1, 1000):
        rows = [sorted([*few[total - coin], coin], reverse=True) for coin in COINS if coin <= total]
        few.append(min(rows, key=len))
    return few


class Change(Task):
    """Say how much money comes back."""

    Dials = sized(20, "the highest price", 3, 500)
    asks = ("{name} buys {ware} for {price:int} pence and pays with {paid:int}. The change is",
            "{name} has {paid:int} pence. After paying {price:int} for {ware}, what is left?")  # fmt: skip

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        price = 2 + random.integers(dials.size - 2)
        paid = price + random.integers(dials.size + 1 - price)
        name, ware = random.choice(FIRST_NAMES), a(random.choice(THINGS))
        return {"name": name, "ware": ware, "price": price, "paid": paid}

    def truth(self, name: str, ware: str, price: int, paid: int) -> str:
        return str(paid - price)

    def second(self, name: str, ware: str, price: int, paid: int) -> str:
        return str(len(range(price, paid)))

    def chance(self, dials: Any) -> float:
        """Return the share of no change at all, which every price allows."""
        return sum(1 / (dials.size + 1 - price) for price in range(2, dials.size)) / (dials.size - 2)


class WeekdayAfter(Task):
    """Name the day of the week some days after or before another."""

    Dials = sized(8, "how many days at most", 2, 99)
    choices = WEEKDAYS
    asks = ("Today is {day}. In {n:int} days it will be", "What day is it {n:int} days after {day}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"day": random.choice(WEEKDAYS), "n": 2 + random.integers(dials.size - 1)}

    def truth(self, day: str, n: int) -> str:
        return WEEKDAYS[(WEEKDAYS.index(day) + n) % 7]

    def second(self, day: str, n: int) -> str:
        week = list(WEEKDAYS)
        while week[0] != day:
            week.append(week.pop(0))
        return (week * (n // 7 + 1))[n]


class MonthAfter(Task):
    """Name the month some months after another."""

    Dials = sized(5, "how many months at most", 2, 48)
    choices = MONTHS
    asks = ("It is {month}. {n:int} months on, it is", "Which month comes {n:int} months after {month}?")

    def draw(self, world: World, random: Random, dials: Any) -> Fields:
        return {"month": random.choice(MONTHS), "n": 2 + random.integers(dials.size - 1)}

    def truth(self, month: str, n: int) -> str:
        return MONTHS[(MONTHS.index(month) + n) % 12]

    def second(self, month: str, n: int) -> str:
        later = dict(zip(MONTHS, MONTHS[1:] + MONTHS[:1], strict=True))
        for _ in range(n):
            month = later[month]
        return month
