"""Small tasks about clocks and the calendar."""


from tinyllm.world.calendar import MONTHS, WEEKDAYS
from tinyllm.world.task import task


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
