"""Read what a person typed, and write notes and text to a terminal."""

import re
import sys

from tinyllm.errors import UserError
from tinyllm.report.terminal import BOLD, columns, has_colours, paint, printable, width


def typed(text: str) -> bytes:
    """Turn an argument or a line that Python has decoded back into the bytes that a person typed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UserError("the text cannot be written as bytes: check the terminal's encoding") from None


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
