"""Show tokens in a terminal, in rows that fit its width, with every byte visible."""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tinyllm.report import tokens
from tinyllm.report.terminal import FAINT, can_print, char_width, pad, paint, width

# Black on light colours reads the same on a dark and on a light terminal; special tokens are white on red.
COLOURS = [f"38;5;16;48;5;{n}" for n in (153, 222, 157, 218)]
SPECIAL = "1;38;5;231;48;5;124"


class TokenCell(NamedTuple):
    """A token in a row: its text, the text to write below it, and True if the token is special."""

    text: str
    below: str = ""
    special: bool = False
    ends_line: bool = False


def visible(token: bytes) -> str:
    """Return a token as printable text, with escapes for characters that the terminal cannot show."""
    shown = tokens.visible(token)
    return shown if can_print(shown) else repr(token)[2:-1]


def rows(cells: Iterable[TokenCell], room: int, colours: bool) -> Iterator[str]:
    """Put cells side by side; yield a line of tokens, then a line of the texts below them, and so on.

    Lines have at most `room` columns. Neighbours have different colours; without `colours`, | separates them.
    """
    line: list[tuple] = []
    at = 0
    edge = 0 if colours else 1
    for number, cell in enumerate(cells):
        for text, below in _parts(cell, room - 2 * edge):
            wide = max(width(text), len(below) + 1 - edge)
            if at and at + wide + edge > room - edge:
                yield from _finished(line, colours)
                line, at = [], 0
            line.append((number, text, below, wide, cell.special))
            at += wide + edge
        if cell.ends_line:
            yield from _finished(line, colours)
            line, at = [], 0
    yield from _finished(line, colours)


def _parts(cell: TokenCell, room: int) -> Iterator[tuple[str, str]]:
    """Cut a cell into parts that fit the line; the text below it goes with the first part."""
    texts = list(_chunks(cell.text, room)) or [""]
    return zip(texts, itertools.chain([cell.below], itertools.repeat("")), strict=False)


def _chunks(text: str, room: int) -> Iterator[str]:
    start, used = 0, 0
    for i, c in enumerate(text):
        if used + char_width(c) > room:
            yield text[start:i]
            start, used = i, 0
        used += char_width(c)
    if start < len(text):
        yield text[start:]


def _finished(line: list[tuple], colours: bool) -> Iterator[str]:
    if not line:
        return
    if colours:
        yield "".join(paint(pad(text, wide), SPECIAL if special else COLOURS[number % len(COLOURS)])
                      for number, text, _, wide, special in line)
        below = "".join(below.ljust(wide) for _, _, below, wide, _ in line).rstrip()
        yield paint(below, FAINT)
    else:
        yield "|" + "".join(pad(text, wide) + "|" for _, text, _, wide, _ in line)
        yield "".join(" " + below.ljust(wide) for _, _, below, wide, _ in line).rstrip()
