"""Draw loss curves as text, with Braille letters, which have eight dots each.

The vertical axis is logarithmic: on a linear axis, the small improvements late in a run would not be seen.
"""

import itertools
import math
from collections import defaultdict

from tinyllm.report.curves import TINY, LossCurves, loss_curves
from tinyllm.report.terminal import paint

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # [row][column] in a Braille letter
BRAILLE = 0x2800
COLOURS = {"train": "36", "val": "33", "floor": "2"}  # cyan, yellow, faint
SIGNS = {"train": "⠤", "val": "●", "floor": "┄"}
FRAME = "│─└"
MARGIN = 7  # columns for the numbers at the left


def loss_chart(records: list[dict], floor_per_char: float | None = None, width: int = 78, height: int = 14,
               colour: bool = False) -> str:
    """Draw the losses in the records of a log as text.

    The training loss is a line, the validation loss is drawn as points. The entropy floor is a dashed line;
    if it is far below the losses, only the legend gives its value. Returns "" for a log without losses.
    """
    curves = loss_curves(records, floor_per_char)
    points = curves.train + curves.val
    if not points:
        return ""
    columns, last = width - MARGIN - 1, max(1, max(x for x, _ in points))
    values = [y for _, y in points] + ([curves.floor] if curves.floor_in_sight else [])
    low = max(min(values), TINY)
    high = max(*values, low * 1.05)

    def dot(x: float, y: float) -> tuple[int, int]:
        """Return the (row, column) of the dot for step x and loss y."""
        part = math.log(max(y, low) / low) / math.log(high / low)
        return round((1 - part) * (4 * height - 1)), round(x / last * (2 * columns - 1))

    cells = {}  # (row, column): (name of the curve, letter)
    if curves.floor is not None and curves.floor_in_sight:
        row = dot(0, curves.floor)[0] // 4
        cells = {(row, column): ("floor", SIGNS["floor"]) for column in range(columns)}
    letters: dict[tuple[int, int], int] = defaultdict(int)  # of the training loss
    for y, x in _line([dot(*point) for point in curves.train]):
        letters[y // 4, x // 2] |= DOTS[y % 4][x % 2]
    cells |= {cell: ("train", chr(BRAILLE + dots)) for cell, dots in letters.items()}
    cells |= {(y // 4, x // 2): ("val", SIGNS["val"]) for y, x in (dot(*point) for point in curves.val)}

    lines = [_legend(curves, colour)]
    for row in range(height):
        loss = high * (low / high) ** (row / (height - 1))
        text = f"{_number(loss) if row % 3 == 0 or row == height - 1 else '':>{MARGIN - 1}} {FRAME[0]}"
        shown = [cells.get((row, column), ("", " ")) for column in range(columns)]
        for name, run in itertools.groupby(shown, key=lambda cell: cell[0]):
            text += paint("".join(letter for _, letter in run), COLOURS.get(name, "") * colour)
        lines.append(text.rstrip())
    lines.append(" " * MARGIN + FRAME[2] + FRAME[1] * columns)
    lines.append(" " * (MARGIN + 1) + f"{0:<{columns - 20}}{f'step {last}':>20}")
    return "\n".join(lines)


def _line(dots):
    """Yield the dots (row, column) of straight lines from each given dot to the next."""
    for (row, column), (next_row, next_column) in zip(dots, dots[1:] or dots, strict=False):
        n = max(abs(next_row - row), abs(next_column - column), 1)
        for i in range(n + 1):
            yield row + round((next_row - row) * i / n), column + round((next_column - column) * i / n)


def _legend(curves: LossCurves, colour: bool) -> str:
    shown = {"train": "train"} if curves.train else {}
    shown |= {"val": "validation"} if curves.val else {}
    shown |= {"floor": f"entropy floor {curves.floor:.3f}"} if curves.floor else {}
    names = [paint(f"{SIGNS[name]} {text}", COLOURS[name] * colour) for name, text in shown.items()]
    below = ", below" if curves.floor and not curves.floor_in_sight else ""
    return f"  {'  '.join(names)}{below}  ({curves.unit}, log)"


def _number(value: float) -> str:
    """Write a loss in at most six letters."""
    return f"{value:.2f}" if value < 999 else f"{value:.0f}" if value < 1e6 - 1 else f"{value:.0e}"
