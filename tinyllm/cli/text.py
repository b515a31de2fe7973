"""Text for terminals: folding, indenting, removing control codes; and a progress bar."""

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinyllm.errors import UserError
from tinyllm.report.terminal import width

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def has_colours() -> bool:
    """Return True in a terminal with colours, unless the user asks for none (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns(stream: Any = None, most: int = 80) -> int:
    """Return how many columns may be used on a stream, by default standard output: those of its terminal.

    At most `most`, which is also the answer without a terminal.
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


def typed(text: str) -> bytes:
    """Return an argument or a line from the terminal as bytes, exactly as they were typed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UserError("the text cannot be written as bytes: check the terminal's encoding") from None


def paragraph(text: str, indent: int = 0, further: int | None = None) -> str:
    """Indent a text and fold it; all lines after the first are indented a little more."""
    further = indent + 2 if further is None else further
    return fold(text, " " * indent, " " * further)


def entry(head: str, text: str, cut: bool = False) -> str:
    """Fold a text to the right of its head."""
    return fold(text, head, " " * len(head), cut)


def fold(text: str, first: str = "", further: str = "", cut: bool = False) -> str:
    """Fold a text at 80 columns, or where a narrower terminal ends; `cut` breaks words that are longer.

    Lines begin with `first`, then `further`.
    """
    return textwrap.fill(text, columns(), initial_indent=first, subsequent_indent=further,
                         break_long_words=cut, break_on_hyphens=False)  # fmt: skip


def indented(text: str, lines: int | None = None) -> str:
    """Return a text, or its first lines, indented by two spaces and folded."""
    room = columns() - 6  # for two spaces, and the dots
    rows = [part for row in text.strip("\n").split("\n") for part in textwrap.wrap(row, room) or [""]]
    shown = rows[:lines] if lines else rows
    return "\n".join("  " + row for row in shown) + (" ..." if len(shown) < len(rows) else "")


def quoted(value: Any) -> str:
    """Write a value so that a shell reads it as one word."""
    return shlex.quote(str(value))


class Writer:
    """Write a text to standard output piece by piece; in a terminal, break lines between words.

    There, a word appears when it is complete, because only then is it known if it fits into the line.
    Control codes are replaced.
    """

    def __init__(self) -> None:
        self.limit = columns(most=sys.maxsize) if sys.stdout.isatty() else 0
        self.at = 0  # columns that are written in this line
        self.blanks = self.word = ""  # held back

    def __call__(self, text: str, bold: bool = False) -> None:
        """Write a piece of the text; `bold` sets it off in a terminal with colours."""
        text, paint = printable(text), bold and has_colours()
        self.word += BOLD * paint
        for part in re.findall(r"\n| +|[^ \n]+", text):
            if part[0] in " \n":
                self._end_word()
            if part == "\n":
                self._put(self.blanks + part)
                self.blanks, self.at = "", 0
            elif part[0] == " ":
                self.blanks += part
            else:
                self.word += part
        self.word += PLAIN * paint
        if not self.limit:
            self._end_word()

    def _end_word(self):
        room = len(self.blanks) + width(self.word.replace(BOLD, "").replace(PLAIN, ""))
        if self.limit and self.at and self.at + room > self.limit:
            self._put("\n")
            room, self.blanks, self.at = room - len(self.blanks), "", 0
        self._put(self.blanks + self.word)
        self.blanks, self.word, self.at = "", "", self.at + room

    def _put(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def progress_bar(what: str, **settings: Any) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that moves a bar on standard error; without a terminal it shows nothing.

    `settings` are tqdm's. The bar appears with the first call and is removed at the end.
    """
    from tqdm import tqdm

    settings = {"ncols": columns(sys.stderr)} | settings
    with tqdm(desc=what, file=sys.stderr, leave=False, disable=None, delay=1e-6, **settings) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
