"""Compute with dates of the world: twelve months of thirty days; day 0 is Monday, 1 January of year 0."""

from typing import NamedTuple

from tinyllm.errors import UserError

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAYS_OF_MONTH, DAYS_OF_YEAR = 30, 360


class Date(NamedTuple):
    """A date of the world. Date(41, 4, 3) is 4 May 41: months and days count from 0."""

    year: int
    month: int
    day: int

    @classmethod
    def of(cls, number: int) -> "Date":
        """Return the date `number` days after the first day of year 0."""
        year, rest = divmod(number, DAYS_OF_YEAR)
        return cls(year, *divmod(rest, DAYS_OF_MONTH))

    @classmethod
    def read(cls, text: str) -> "Date":
        """Read a date such as "3 May 41"; raise UserError for any other text."""
        words = str(text).split()
        if len(words) == 3 and words[0].isdecimal() and words[1] in MONTHS and words[2].isdecimal():
            date = cls(int(words[2]), MONTHS.index(words[1]), int(words[0]) - 1)
            if 0 <= date.day < DAYS_OF_MONTH and len(words[2]) < 5:
                return date
        raise UserError(f"{text!r} is not a date of the world; write one like 3 May 41 (months have 30 days)")

    @property
    def number(self) -> int:
        """Return the number of days since the first day of year 0."""
        return self.year * DAYS_OF_YEAR + self.month * DAYS_OF_MONTH + self.day

    @property
    def weekday(self) -> str:
        """Return the name of the day of the week."""
        return WEEKDAYS[self.number % 7]

    def __str__(self) -> str:
        return f"{self.day + 1} {MONTHS[self.month]} {self.year}"
