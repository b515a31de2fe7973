"""Say which class every character is in, by Unicode 16.0, whatever version `regex` and Python know.

Text is cut by classes of characters. If these came from an installed package, one tokenizer would give other
ids on another machine. `unicode-16.0.txt` is the one table, for the kernels too (csrc/unicode_tables.py). Its
version is that of tiktoken 0.14 and tokenizers 0.23. tools/unicode_classes.py writes it.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

from tinyllm.ops.shapes import Array

VERSION = "16.0"
# No character yet. `regex` may know it from a later version of Unicode, so it is shown U+FFFF instead, which
# never becomes a character.
UNASSIGNED = ord("X")
# Classed differently by a later version, and a character to show instead: this letter was lower case.
CHANGED = {0x0295: 0x0250}


@cache
def classes() -> Array:
    """Return the class of every character -> uint8 (1,114,112), the code of one of these letters.

    U: upper case and title case, L: lower case, C: letter without case, M: mark, N: number, R: line break,
    S: other white space, O: all others, X: not assigned.
    """
    runs = re.findall(r"([A-Z])(\d*)", Path(__file__).with_name(f"unicode-{VERSION}.txt").read_text())
    letters = np.frombuffer("".join(letter for letter, _ in runs).encode(), np.uint8)
    return np.repeat(letters, [int(length or 1) for _, length in runs])


def in_this_version(text: str) -> str:
    """Replace the characters that a newer `regex` would class differently, so that it matches alike.

    text: str -> str of the same length, to be matched against.
    """
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    known = np.where(classes()[codes] == UNASSIGNED, np.uint32(0xFFFF), codes)
    for code, stand_in in CHANGED.items():
        known[codes == code] = stand_in
    return known.tobytes().decode("utf-32-le", "surrogatepass")
