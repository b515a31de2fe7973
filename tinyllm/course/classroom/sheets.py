"""Read CSV tables from spreadsheets of any country, and write CSV tables without formulas.

Tables may begin with a byte order mark, have the line ends of Windows, and separate columns by commas,
semicolons or tabs. Cells are written so that a spreadsheet never reads a name or a comment as a formula.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tinyllm.errors import UserError
from tinyllm.files import read_text

LARGEST, MOST_ROWS, LONGEST = 2**22, 20_000, 2000  # bytes, rows, characters of a cell
POINTS = re.compile(r"\d{1,6}([.,]\d{1,6})?", re.ASCII)


class SheetRow(NamedTuple):
    """A row of a table: its cells by column, and its file and line for messages."""

    cells: dict[str, str]
    where: str


def read_sheet(path: str | Path, *needed: str) -> list[SheetRow]:
    """Read a table with a row of headings. Headings become lower case; empty rows are left out.

    Raises UserError if the file cannot be read, lacks a needed column, or has a row of the wrong length.
    """
    text = re.sub(r"\A\s*sep=.\s*?\n", "", read_text(path, LARGEST, "utf-8-sig"))  # Excel's own first line
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    head: list[str] = []
    rows: list[SheetRow] = []
    try:
        for cells in reader:
            cells, where = [" ".join(cell.split()) for cell in cells], f"{path}, line {reader.line_num}"
            if not any(cells):
                continue
            if not head:
                head = headings([cell.lower() for cell in cells], needed, where)
                continue
            if len(cells) > len(head) and any(cells[len(head) :]):
                raise UserError(f"{where} has {len(cells)} cells, and there are {len(head)} columns")
            if len(rows) == MOST_ROWS or max(map(len, cells)) > LONGEST:
                raise UserError(f"{where}: more than {MOST_ROWS:,} rows, or {LONGEST:,} letters in a cell")
            rows.append(SheetRow(dict(zip(head, cells + [""] * len(head), strict=False)), where))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num} is not CSV: {error}") from None
    if not head:
        raise UserError(f"{path} is empty: its first line should be {','.join(needed)}")
    return rows


def headings(head: list[str], needed: Sequence[str], where: str) -> list[str]:
    """Return the headings of a table. Raises UserError if a heading is missing or occurs twice."""
    while not head[-1]:
        head.pop()
    if missing := [name for name in needed if name not in head]:
        raise UserError(f"{where} names the columns {', '.join(head)[:80]}; it lacks {', '.join(missing)}")
    (most, times), *_ = Counter(head).most_common(1)
    if times > 1:
        raise UserError(f"{where} has {times} columns {most!r}")
    return head


def read_points(row: SheetRow, column: str) -> float:
    """Read the points in a cell, such as 1.5 or 1,5. Raises UserError if they are not a number >= 0."""
    text = row.cells[column]
    if not POINTS.fullmatch(text):
        raise UserError(f"{row.where}: {column} should be a number such as 2 or 1.5, not {text[:40]!r}")
    return float(text.replace(",", "."))


def cell(text: str) -> str:
    """Return a text as one line for a cell of a spreadsheet, changed if it could be read as a formula.

    Line breaks become spaces: `csv` does not quote a lone carriage return, which would begin another cell.
    """
    line = " ".join(text.split())
    return "'" + line if line[:1] in tuple("=+-@＝＋－＠") else line  # also full-width signs


def number(value: float) -> str:
    """Format points, whole numbers without `.0`."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def sheet(rows: list[list[str]]) -> str:
    """Format rows as CSV, with the same bytes on every system."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
