"""Write text in terminals: indent, fold and quote it, print it piece by piece, and show progress."""

import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinyllm.errors import UserError
from tinyllm.report.terminal import BOLD, columns, fold, has_colours, paint, printable, width


def note(text: str) -> None:
    """Write a note to standard error."""
    print(f"note: {text}", file=sys.stderr)


def note_ignored(tokenizer: Any) -> Any:
    """Print a note for each setting that tinyllm ignores in a tokenizer's file; return the tokenizer."""
    for each in tokenizer.notes():
        note(each)
    return tokenizer


def typed(text: str) -> bytes:
    """Turn an argument or a line that Python has decoded back into the bytes that a person typed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UserError("the text cannot be written as bytes: check the terminal's encoding") from None


def paragraph(text: str, indent: int = 0, further: int | None = None) -> str:
    """Fold and indent a text; later lines are indented by `further` spaces, by default two more."""
    further = indent + 2 if further is None else further
    return fold(text, " " * indent, " " * further)


def entry(head: str, text: str, cut: bool = False) -> str:
    """Fold a text and put it to the right of a heading, or below the heading if this is long."""
    if len(head) > columns() // 2:
        return head.rstrip() + "\n" + fold(text, "    ", "    ", cut)
    return fold(text, head, " " * len(head), cut)


def indented(text: str, lines: int | None = None) -> str:
    """Fold a text (or only its first `lines`), and indent it by two spaces."""
    room = columns() - 6  # for two spaces, and the dots
    rows = [part for row in text.strip("\n").split("\n") for part in textwrap.wrap(row, room) or [""]]
    shown = rows[:lines] if lines else rows
    return "\n".join("  " + row for row in shown) + (" ..." if len(shown) < len(rows) else "")


def quoted(value: Any) -> str:
    """Write a value so that a shell reads it as one word."""
    return shlex.quote(str(value))


class Writer:
    """Write a text to standard output piece by piece; in a terminal, break lines between words.

    In a terminal, a word appears only when it is complete, because an incomplete one may not fit into the
    line. Control codes are replaced.
    """

    def __init__(self) -> None:
        self.limit = columns(most=sys.maxsize) if sys.stdout.isatty() else 0
        self.at = 0  # columns that are written in this line
        self.blanks = self.word = ""  # text that is not written yet

    def __call__(self, text: str, bold: bool = False) -> None:
        """Write a piece of the text; `bold` sets it off in a terminal with colours."""
        code = BOLD if bold and has_colours() else ""
        for part in re.findall(r"\n| +|[^ \n]+", printable(text)):
            if part[0] in " \n":
                self._end_word()
            if part == "\n":
                self._put(self.blanks + part)
                self.blanks, self.at = "", 0
            elif part[0] == " ":
                self.blanks += part
            else:
                self.word += paint(part, code)
        if not self.limit:
            self._end_word()

    def _end_word(self):
        room = len(self.blanks) + width(self.word)
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
    """Yield a callback (done, total) that moves a progress bar on standard error, if this is a terminal.

    The bar appears with the first call and is removed at the end. `settings` are passed to tqdm.
    """
    from tqdm import tqdm

    settings = {"ncols": columns(sys.stderr)} | settings
    with tqdm(desc=what, file=sys.stderr, leave=False, disable=None, delay=1e-6, **settings) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield move
