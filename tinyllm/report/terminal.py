"""Text for terminals: its width and colours, folding, tables, bars."""

import math
import os
import re
import sys
import textwrap
import unicodedata
from typing import Any

STYLE = re.compile(r"\x1b\[[\d;]*m")
BOLD, FAINT, ITALIC = "1", "2", "3"  # SGR codes


def has_colours() -> bool:
    """Return True in a terminal with colours, unless the user asks for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """Colour a text by an SGR code ("" for none), line by line, so that no colour runs beyond the text."""
    return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if line and code else line for line in text.split("\n"))


def columns(stream: Any = None, most: int = 80) -> int:
    """Return the width of the terminal of a stream, by default of standard output, in columns.

    Returns at most `most`, and `most` without a terminal.
    """
    try:
        found = os.get_terminal_size((stream or sys.stdout).fileno()).columns
    except (OSError, ValueError, AttributeError):  # no terminal; a notebook's stream has no file
        return most
    return min(found, most) if found > 0 else most


def can_print(text: str) -> bool:
    """Return True if standard output can show these letters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Replace control codes, and letters that standard output cannot show."""
    text = "".join(letter if letter in "\n\t" or letter.isprintable() else "\ufffd" for letter in text)
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def fold(text: str, first: str = "", further: str = "", cut: bool = False) -> str:
    """Fold a text at 80 columns, or at the terminal's width if it is narrower; `cut` breaks longer words.

    The first line begins with `first`, the others with `further`.
    """
    return textwrap.fill(text, columns(), initial_indent=first, subsequent_indent=further,
                         break_long_words=cut, break_on_hyphens=False)  # fmt: skip


def table(head: list[str], rows: list[list[str]], align: str = "") -> list[str]:
    """Format rows in columns as wide as their widest cell -> lines.

    `align` has a < or > for each column; without it the first is aligned to the left, others to the right.
    """
    cells = [head, *rows]
    sides = align or "<" + ">" * (len(head) - 1)
    room = [max(width(row[i]) for row in cells) for i in range(len(head))]
    padded = [[pad(*cell) for cell in zip(row, room, sides, strict=True)] for row in cells]
    return ["  ".join(row).rstrip() for row in padded]


def width(text: str) -> int:
    """Count the columns of a terminal that a text takes: two for the letters of East Asia and for emoji.

    Colours take none.
    """
    return sum(map(char_width, STYLE.sub("", text)))


def char_width(c: str) -> int:
    """Count the columns of a terminal that a character takes."""
    if unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def pad(text: str, room: int, side: str = "<") -> str:
    """Fill a text with spaces to `room` columns; `side` < aligns it to the left, > to the right."""
    spaces = " " * (room - width(text))
    return text + spaces if side == "<" else spaces + text


def bar(share: float, width: int = 24) -> str:
    """Draw a share from 0 to 1 as a bar."""
    return "#" * round(width * share) if math.isfinite(share) else ""


def short(n: int) -> str:
    """Write a count with three digits and a unit: 85056 -> 85.1 k."""
    power = min(int(math.log10(n / 0.9995) // 3), 5) if n else 0
    return f"{n / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P'][power]}".strip()
