"""Write the class of every character of Unicode to tinyllm/ops/unicode-VERSION.txt.

    python3.14 tools/unicode_classes.py

The version is that of this Python: 3.14 knows Unicode 16.0. tinyllm/ops/unicode.py explains the letters. A
number behind one says how many characters in a row are in this class.
"""

import textwrap
import unicodedata
from itertools import groupby
from pathlib import Path

CLASSES = {"U": "Lu Lt", "L": "Ll", "C": "Lm Lo", "M": "Mn Mc Me", "N": "Nd Nl No", "X": "Cn"}
CLASS = {category: letter for letter, categories in CLASSES.items() for category in categories.split()}
SPACES = "\t\v\f\x85\u2028\u2029"  # white space that is in no category of its own, besides Zs


def class_of(character: str) -> str:
    """Return the letter of a character's class."""
    if character in "\r\n":
        return "R"
    category = unicodedata.category(character)
    return "S" if character in SPACES or category == "Zs" else CLASS.get(category, "O")


def main() -> None:
    """Write the file."""
    version = ".".join(unicodedata.unidata_version.split(".")[:2])
    letters = map(class_of, map(chr, range(0x110000)))
    runs = ((letter, len(list(run))) for letter, run in groupby(letters))
    text = " ".join(letter + (str(length) if length > 1 else "") for letter, length in runs)
    lines = [line.replace(" ", "") for line in textwrap.wrap(text, 160)]
    path = Path(__file__).resolve().parents[1] / f"tinyllm/ops/unicode-{version}.txt"
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
