"""Writes csrc/unicode_tables.h: which class every character of Unicode is in, for the splitting of text.

    python csrc/unicode_tables.py [FILE]

setup.py runs it before it compiles. What is true of a character is asked of the `regex` package, since
csrc/pieces.c must give what `regex` gives; so the table is of the Unicode version that `regex` was made for.
"""

import sys
from pathlib import Path

import regex

# The bits of csrc/pieces.c: every character is in exactly one class. Letters are LOWER, UPPER (titles too) or
# CASELESS (such as ideographs, and modifiers); white space other than the two newlines is SPACE.
CLASSES = {
    "UPPER": r"[\p{Lu}\p{Lt}]",
    "LOWER": r"\p{Ll}",
    "CASELESS": r"[\p{Lm}\p{Lo}]",
    "MARK": r"\p{M}",
    "NUMBER": r"\p{N}",
    "SPACE": r"[^\S\r\n]",
    "NEWLINE": r"[\r\n]",
    "OTHER": r"[^\s\p{L}\p{M}\p{N}]",
}
# A character that came with each version, newest first: the tables know the first that is not \p{Cn} to them.
# Seal, Sidetic, Todhri, ideographs of extension I, Kawi, Arabic extended B, Khitan.
ARRIVALS = {"18.0": 0x3D000, "17.0": 0x10940, "16.0": 0x105C0, "15.1": 0x2EBF0, "15.0": 0x11F02,
            "14.0": 0x0870, "13.0": 0x18B00}  # fmt: skip
CHARACTERS, BLOCK = 0x110000, 128


def classes():
    """One byte for each character: the bit of its class."""
    everything = "".join(map(chr, range(CHARACTERS)))
    found = bytearray(CHARACTERS)
    for i, pattern in enumerate(CLASSES.values()):
        for match in regex.finditer(f"{pattern}+", everything):
            start, end = match.span()
            if any(found[start:end]):
                raise ValueError(f"a character from U+{start:04X} to U+{end - 1:04X} is in two classes")
            found[start:end] = bytes([1 << i]) * (end - start)
    if not all(found):
        raise ValueError(f"U+{found.index(0):04X} is in no class")
    return bytes(found)


def unicode_version():
    """The newest version of which the `regex` package knows a character."""
    return next((version for version, character in ARRIVALS.items()
                 if not regex.match(r"\p{Cn}", chr(character))), "12.1 or older")


def array(declaration, numbers):
    """An array of C, 24 numbers to a line."""
    lines = [", ".join(map(str, numbers[i : i + 24])) for i in range(0, len(numbers), 24)]
    return f"static const {declaration} = {{\n    " + ",\n    ".join(lines) + ",\n};\n"


def header():
    """The text of the file: blocks of 128 characters, most of which are alike, and which one is where."""
    table = classes()
    blocks = {}  # in the order in which they are first seen
    places = [blocks.setdefault(table[i : i + BLOCK], len(blocks)) for i in range(0, CHARACTERS, BLOCK)]
    bits = ", ".join(f"{name} = {1 << i}" for i, name in enumerate(CLASSES))
    return "\n".join([
        "/* Written by csrc/unicode_tables.py; not to be edited. Of a character c, the class is",
        f"   unicode_class[{BLOCK} * unicode_block[c / {BLOCK}] + c % {BLOCK}]. */",
        f'#define UNICODE_VERSION "{unicode_version()}"',
        f'#define UNICODE_REGEX "{regex.__version__}" /* the package that was asked */',
        f"enum {{ {bits} }};",
        array("uint8_t unicode_byte[256] /* of ASCII, else 0 */", [*table[:128], *bytes(128)]),
        array(f"uint{8 if len(blocks) <= 256 else 16}_t unicode_block[{len(places)}]", places),
        array(f"uint8_t unicode_class[{BLOCK * len(blocks)}]", b"".join(blocks)),
    ])  # fmt: skip


def write(path):
    """Write the file, unless it is there and right: a new one would have everything compiled again."""
    path, text = Path(path), header()
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    write(*sys.argv[1:] or [Path(__file__).with_suffix(".h")])
