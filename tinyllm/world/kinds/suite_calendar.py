"""Write small tasks about clocks, the calendar and birthdays."""

from tinyllm.config import setting
from tinyllm.world.calendar import WEEKDAYS, Date
from tinyllm.world.document import attempts
from tinyllm.world.question import asks, dials, pick


def _time(world, random, dials):
    hours, minutes = random.integers(24), random.integers(60)
    return {"time": f"{hours}:{minutes:02}", "n": 2 + random.integers(dials.size - 1)}


def _minute_by_minute(time, n):
    hours, minutes = map(int, time.split(":"))
    for _ in range(n):
        hours, minutes = (hours, minutes + 1) if minutes < 59 else ((hours + 1) % 24, 0)
    return f"{hours}:{minutes:02}"


@asks("{n:count} minutes after {time} it is", "The train of {time} takes {n:count} minutes. It arrives at",
      size=(60, "how many minutes at most", 2, 600), draw=_time, second=_minute_by_minute)
def clock(time: str, n: int) -> str:
    """Say what time it is some minutes after a given time."""
    hours, minutes = map(int, time.split(":"))
    hours, minutes = divmod(60 * hours + minutes + n, 60)
    return f"{hours % 24}:{minutes:02}"


@asks("Today is {day}. In {n:count} days it will be", "What day is it {n:count} days after {day}?",
      size=(8, "how many days at most", 2, 99), choices=WEEKDAYS,
      draw=lambda world, random, dials: {"day": random.choice(WEEKDAYS),
                                         "n": 2 + random.integers(dials.size - 1)},
      second=lambda day, n: (WEEKDAYS * (n // 7 + 2))[n:][WEEKDAYS.index(day)])
def weekday_after(day: str, n: int) -> str:
    """Say which day of the week it is some days after a given day."""
    return WEEKDAYS[(WEEKDAYS.index(day) + n) % 7]


def _birthdays(world, random, dials):
    for _ in attempts():
        one, two = pick(random, world.people, 2)
        if one.born != two.born and abs(one.born - two.born) < 360 * dials.years:
            a, b = str(Date.of(one.born)), str(Date.of(two.born))
            return {"one": one.name, "a": a, "two": two.name, "b": b}


@asks("{one} was born on {a}, {two} on {b}. The older one is",
      "Birthdays: {one}, {a}; {two}, {b}. Who is older?",
      options=2, draw=_birthdays,
      Dials=dials(years=setting(60, help="how many years may lie between the birthdays", min=1, max=60)),
      second=lambda one, a, two, b: min((Date.read(a).number, one), (Date.read(b).number, two))[1],
      )
def older(one: str, a: str, two: str, b: str) -> str:
    """Say which of two people is older, by their birthdays."""
    return one if Date.read(a) < Date.read(b) else two
