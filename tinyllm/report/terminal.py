"""Format text for the width, colours and encoding of the terminal; commands print it."""

import math
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

BOLD, FAINT, ITALIC = "1", "2", "3"  # SGR codes


def has_colours() -> bool:
    """Return True if standard output is a terminal with colours and NO_COLOR is not set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """Put a colour's escape codes (SGR) around every line of a text; the code "" changes nothing."""
    return "\n".join(f"\x1b[{code}m{line}\x1b[0m" if line and code else line for line in text.split("\n"))


def columns() -> int:
    """Return the columns of the terminal, but at most 80."""
    return min(shutil.get_terminal_size().columns, 80)


def printable(text: str) -> str:
    """Replace control codes and letters that the encoding of standard output lacks."""
    text = "".join(letter if letter in "\n\t" or letter.isprintable() else "\ufffd" for letter in text)
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def paragraph(text: str, indent: int = 0, further: int | None = None) -> str:
    """Fold and indent a text; later lines are indented by `further` spaces, by default two more."""
    further = indent + 2 if further is None else further
    return _fold(text, " " * indent, " " * further)


def entry(head: str, text: str) -> str:
    """Fold a text and put it to the right of a heading, or below the heading if this is long."""
    if len(head) > columns() // 2:
        return head.rstrip() + "\n" + paragraph(text, 4, 4)
    return _fold(text, head, " " * len(head))


def _fold(text, first, further):
    """Fold a text into lines that fit into the terminal and into 80 columns, but break no word."""
    return textwrap.fill(text, columns(), initial_indent=first, subsequent_indent=further,
                         break_long_words=False, break_on_hyphens=False)


def indented(text: str, lines: int | None = None) -> str:
    """Fold a text (or only its first `lines`), and indent it by two spaces."""
    room = columns() - 6  # for two spaces, and the dots
    rows = [part for row in text.strip("\n").split("\n") for part in textwrap.wrap(row, room) or [""]]
    shown = rows[:lines] if lines else rows
    return "\n".join("  " + row for row in shown) + (" ..." if len(shown) < len(rows) else "")


def table(head: list[str], rows: list[list[str]], align: str = "") -> list[str]:
    """Format a table as lines of text; each column is as wide as its widest cell.

    `align` has < (left) or > (right) for each column. By default only the first column is aligned left.
    """
    cells = [head, *rows]
    sides = align or "<" + ">" * (len(head) - 1)
    room = [max(width(row[i]) for row in cells) for i in range(len(head))]
    padded = [[pad(*cell) for cell in zip(row, room, sides, strict=True)] for row in cells]
    return ["  ".join(row).rstrip() for row in padded]


def width(text: str) -> int:
    """Return how many columns a text fills: 2 for emoji and East Asian letters, 0 for marks over letters."""
    letters = [c for c in text if unicodedata.category(c) not in ("Mn", "Me")]
    return len(letters) + sum(unicodedata.east_asian_width(c) in "WF" for c in letters)


def pad(text: str, room: int, side: str = "<") -> str:
    """Add spaces until a text fills `room` columns: after the text if `side` is "<", before it if ">"."""
    spaces = " " * (room - width(text))
    return text + spaces if side == "<" else spaces + text


def bar(share: float, width: int = 24) -> str:
    """Draw a share from 0 to 1 as a bar of up to `width` # signs."""
    return "#" * round(width * share) if math.isfinite(share) else ""


def short(n: float) -> str:
    """Write a number with three digits and k, M, G, T or P: 85056 becomes 85.1 k."""
    power = min(int(math.log10(n / 0.9995) // 3), 5) if n >= 1 else 0
    return f"{n / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P'][power]}".strip()


@contextmanager
def progress_bar(what: str, **settings: Any) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a progress bar on standard error, if this is a terminal.

    The bar appears with the first call and is removed at the end. `settings` are passed to tqdm.
    """
    from tqdm import tqdm

    with tqdm(desc=what, leave=False, disable=None, delay=1e-6, **settings) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
