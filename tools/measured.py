"""Print what was measured: the rows of docs/measured.toml that contain some words.

    python tools/measured.py [WORD ...]
"""

import sys
import tomllib
from pathlib import Path

from tinyllm.report.terminal import entry

TABLE = Path(__file__).resolve().parents[1] / "docs" / "measured.toml"


def rows() -> list[tuple[str, list[str]]]:
    """Return (section, [what, figure, command, where, day]) for each row."""
    return [(section, row) for section, part in tomllib.loads(TABLE.read_text(encoding="utf-8")).items()
            for row in part["rows"]]


def main(words: list[str]) -> None:
    """Print the rows that contain all words, in any case."""
    found = [(section, row) for section, row in rows()
             if all(word.lower() in " ".join([section, *row]).lower() for word in words)]
    for number, (section, (what, figure, command, where, day)) in enumerate(found):
        if number == 0 or found[number - 1][0] != section:
            print(f"\n{section}\n")
        print("\n".join([entry("- ", what), entry("  = ", figure), entry("  $ ", command)]))
        print(f"    {where}, {day}")
    if not found:
        sys.exit(f"no row has {' and '.join(words)}; without words, all are printed")


if __name__ == "__main__":
    main(sys.argv[1:])
