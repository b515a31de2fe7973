"""Give the class of every character in Unicode 16.0, independent of the versions of `regex` and Python.

Text is cut by classes of characters. If an installed package gave the classes, a tokenizer could give other
ids on another machine. `unicode-16.0.txt` is the only table; the kernels use it too (csrc/unicode_tables.py).
tiktoken 0.14 and tokenizers 0.23 use the same version. CONTRIBUTING.md says how to renew the table.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

from tinyllm.ops.shapes import Array

VERSION = "16.0"
# Not assigned in 16.0. Later versions may assign it, so `regex` gets U+FFFF instead, which is never assigned.
UNASSIGNED = ord("X")
# A character whose class changed in a later version, and one with the old class to use instead.
CHANGED = {0x0295: 0x0250}


@cache
def classes() -> Array:
    """Return the class of every character, as the code of a letter -> uint8 (1,114,112).

    U: upper case and title case, L: lower case, C: letter without case, M: mark, N: number, R: line break,
    S: other white space, O: all others, X: not assigned.
    """
    runs = re.findall(r"([A-Z])(\d*)", Path(__file__).with_name(f"unicode-{VERSION}.txt").read_text())
    letters = np.frombuffer("".join(letter for letter, _ in runs).encode(), np.uint8)
    return np.repeat(letters, [int(length or 1) for _, length in runs])


def in_this_version(text: str) -> str:
    """Replace characters whose class a newer `regex` has changed, so that patterns match as in Unicode 16.0.

    text: str -> str of the same length, for matching only.
    """
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    known = np.where(classes()[codes] == UNASSIGNED, np.uint32(0xFFFF), codes)
    for code, stand_in in CHANGED.items():
        known[codes == code] = stand_in
    return known.tobytes().decode("utf-32-le", "surrogatepass")
