"""Write csrc/unicode_tables.h: the class of every character of Unicode, for the splitting of text.

    python csrc/unicode_tables.py [FILE]

setup.py runs it before it compiles. The classes are those of tinyllm/ops/unicode-16.0.txt, as in the specs;
tinyllm/ops/unicode.py explains the letters.
"""

import re
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "tinyllm/ops/unicode-16.0.txt"
# The bits of csrc/bpe/pieces.c, and the letters of the file. Every character is in exactly one class.
CLASSES = {"UPPER": "U", "LOWER": "L", "CASELESS": "C", "MARK": "M", "NUMBER": "N", "SPACE": "S",
           "NEWLINE": "R", "OTHER": "OX"}
CHARACTERS, BLOCK = 0x110000, 128


def classes():
    """Return a byte for each character: the bit of its class."""
    bits = {letter: 1 << i for i, letters in enumerate(CLASSES.values()) for letter in letters}
    runs = re.findall(r"([A-Z])(\d*)", SOURCE.read_text())
    table = b"".join(bytes([bits[letter]]) * int(length or 1) for letter, length in runs)
    if len(table) != CHARACTERS:
        raise ValueError(f"{SOURCE} has {len(table)} characters, not {CHARACTERS}")
    return table


def array(declaration, numbers):
    """Return the definition of an array in C, with 24 numbers to a line."""
    lines = [", ".join(map(str, numbers[i : i + 24])) for i in range(0, len(numbers), 24)]
    return f"static const {declaration} = {{\n    " + ",\n    ".join(lines) + ",\n};\n"


def header():
    """Return the text of the file: each distinct block of 128 characters, and where each of them occurs."""
    table = classes()
    blocks = {}  # in the order in which they are first seen
    places = [blocks.setdefault(table[i : i + BLOCK], len(blocks)) for i in range(0, CHARACTERS, BLOCK)]
    bits = ", ".join(f"{name} = {1 << i}" for i, name in enumerate(CLASSES))
    return "\n".join([
        "/* Written by csrc/unicode_tables.py; not to be edited. Of a character c, the class is",
        f"   unicode_class[{BLOCK} * unicode_block[c / {BLOCK}] + c % {BLOCK}]. */",
        f"enum {{ {bits} }};",
        array("uint8_t unicode_byte[256] /* of ASCII, else 0 */", [*table[:128], *bytes(128)]),
        array(f"uint{8 if len(blocks) <= 256 else 16}_t unicode_block[{len(places)}]", places),
        array(f"uint8_t unicode_class[{BLOCK * len(blocks)}]", b"".join(blocks)),
    ])


def write(path):
    """Write the file, unless it has this text already: a newer file would make everything compile again."""
    path, text = Path(path), header()
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    write(*sys.argv[1:] or [Path(__file__).with_suffix(".h")])
