"""Read what a person typed, and write a text piece by piece."""

import sys

from tinyllm.errors import UserError
from tinyllm.report.terminal import BOLD, has_colours, paint, printable


def typed(text: str) -> bytes:
    """Turn an argument or a line that Python has decoded back into the bytes that a person typed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UserError("the text cannot be written as bytes: check the terminal's encoding") from None


def write(text: str, bold: bool = False) -> None:
    """Write a piece of a text and flush it, without control codes; `bold` has no effect in a file."""
    sys.stdout.write(paint(printable(text), BOLD if bold and has_colours() else ""))
    sys.stdout.flush()
