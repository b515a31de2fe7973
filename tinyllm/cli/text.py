"""Text for terminals: folding, indenting, removing control codes; and a progress bar."""

import os
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinyllm.errors import UserError


def has_colours() -> bool:
    """Return True in a terminal with colours, unless the user asks for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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


def typed(text: str) -> bytes:
    """Return an argument or a line from the terminal as bytes, exactly as they were typed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UserError("the text cannot be written as bytes: check the terminal's encoding") from None


def paragraph(text: str, indent: int = 0, further: int | None = None) -> str:
    """Indent a text and fold it at 80 columns; all lines after the first are indented a little more."""
    further = indent + 2 if further is None else further
    return fold(text, " " * indent, " " * further)


def entry(head: str, text: str, cut: bool = False) -> str:
    """Fold a text at 80 columns to the right of its head."""
    return fold(text, head, " " * len(head), cut)


def fold(text: str, first: str = "", further: str = "", cut: bool = False) -> str:
    """Fold a text at 80 columns; lines begin with `first`, then `further`; `cut` breaks longer words."""
    return textwrap.fill(text, 80, initial_indent=first, subsequent_indent=further,
                         break_long_words=cut, break_on_hyphens=False)  # fmt: skip


def indented(text: str, lines: int | None = None) -> str:
    """Return a text, or its first lines, indented by two spaces and folded at 78 columns."""
    rows = [part for row in text.strip("\n").split("\n") for part in textwrap.wrap(row, 76) or [""]]
    shown = rows[:lines] if lines else rows
    return "\n".join("  " + row for row in shown) + (" ..." if len(shown) < len(rows) else "")


def quoted(value: Any) -> str:
    """Write a value so that a shell reads it as one word."""
    return shlex.quote(str(value))


@contextmanager
def progress_bar(what: str, **settings: Any) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a bar on standard error; without a terminal it shows nothing.

    `settings` are tqdm's. The bar appears with the first call and is removed at the end.
    """
    from tqdm import tqdm

    with tqdm(desc=what, file=sys.stderr, leave=False, disable=None, delay=1e-6, **settings) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
