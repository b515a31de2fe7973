"""Show texts in a terminal one screen at a time, so that nothing scrolls away unread.

A `Screen` replaces standard output. It counts the lines since the user last pressed Enter, and waits for
Enter before the first line that does not fit.
"""

import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from tinyllm.report.terminal import FAINT, paint, width

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

Part = str | Sequence["Part"]  # a text, or parts that belong together


class Screen:
    """A substitute for standard output that waits for Enter whenever the terminal is full.

    waits: False if the output is a file, so that nobody has to press Enter.
    muted: while this is True, nothing is written.

    A `Part` is a text, or a list of parts that are kept on one screen if they fit.
    """

    def __init__(self, stream: Any, waits: bool):
        self.stream, self.waits, self.muted = stream, waits, False
        self.used = self.column = 0  # lines since the last stop, columns of the line that is not ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write a text, wait before each line that does not fit, and return the text's length."""
        for line in () if self.muted else text.splitlines(keepends=True):
            if self.waits and self.used >= room() and not self.column:
                self.pause("Enter shows more, q + Enter ends")
            self.stream.write(line)
            self.column += width(line.rstrip("\n"))
            if line.endswith("\n"):
                self.used, self.column = self.used + height(self.column), 0
        return len(text)

    def show(self, part: Part) -> None:
        """Write a part on one screen, or, if it is too long, its parts one after another."""
        if not self.waits or self.used + needed(part) <= room():
            self.write(joined(part))
        elif self.used:
            self.pause("Enter goes on, q + Enter ends")
            self.show(part)
        elif isinstance(part, str):
            self.write(part)
        else:
            for each in part:
                self.show(each)

    def pause(self, prompt: str) -> None:
        """Wait for Enter; q ends the program."""
        dashes = "-" * (min(shutil.get_terminal_size().columns, 80) - len(prompt) - 3)
        self.ask(paint(f"{dashes} {prompt}", FAINT) + " ")

    def ask(self, prompt: str) -> str:
        """Read a line from the user; q or the end of the input ends the program."""
        if self.used and self.used + needed(prompt) - 1 > room():
            self.pause("Enter goes on, q + Enter ends")
        forget_typed()
        try:
            answer = input(prompt).strip()
        except EOFError:
            answer = "q"
            self.stream.write("\n")
        self.used = self.column = 0
        if answer.lower() == "q":
            self.stream.write("stopped\n")
            sys.exit()
        return answer


def forget_typed() -> None:
    """Discard keys typed during a computation, so that they do not answer the next question."""
    if termios and sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def room() -> int:
    """Return the number of lines that fit on the terminal above a prompt."""
    return max(shutil.get_terminal_size().lines - 1, 2)


def height(columns: int) -> int:
    """Return the number of terminal lines for a line of `columns` columns, which may be wrapped."""
    return 1 + max(columns - 1, 0) // shutil.get_terminal_size().columns


def needed(part: Part) -> int:
    """Return the number of terminal lines that a part needs."""
    return sum(height(width(line)) for line in joined(part).splitlines())


def joined(part: Part) -> str:
    """Return the text of a part: all its texts, however deeply they are nested."""
    return part if isinstance(part, str) else "".join(map(joined, part))


def paragraphs(text: str) -> list[str]:
    """Split a text into paragraphs; keep headings with the text below, indented lines with the text above."""
    found: list[str] = []
    for piece in re.split(r"(?<=\n)(?=\n\S)", text):
        if found and re.fullmatch(r"\s*#+ .*\n", found[-1]):
            found[-1] += piece
        else:
            found.append(piece)
    return found
