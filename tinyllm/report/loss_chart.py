"""Draw loss curves as text: with Braille letters, which have eight dots each, or in plain ASCII.

The vertical axis is logarithmic: on a linear axis, the small improvements late in a run would not be seen.
"""

import itertools
import math

from tinyllm.report.curves import TINY, loss_curves
from tinyllm.report.terminal import paint

# [row][column] of the 4 x 2 dots in a Braille letter
BRAILLE_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
COLOURS = {"train": "36", "val": "33", "floor": "2"}  # cyan, yellow, faint
MARGIN = 7  # columns for the numbers at the left


def loss_chart(records: list[dict], floor_per_char: float | None = None, width: int = 78, height: int = 14,
               ascii_only: bool = False, colour: bool = False) -> str:
    """Draw the losses in the records of a log as text.

    The training loss is a line, the validation loss is drawn as points. The entropy floor is a dashed line;
    if it is far below the losses, only the legend gives its value. Returns "" for a log without losses.
    """
    curves = loss_curves(records, floor_per_char)
    points = curves.train + curves.val
    if not points:
        return ""
    values = [y for _, y in points] + ([curves.floor] if curves.floor_in_sight else [])
    low, high = max(min(values), TINY), max(values)
    high = max(high, low * 1.05)
    grid = Grid(width - MARGIN - 1, height, max(x for x, _ in points), low, high, ascii_only)
    if curves.floor is not None and curves.floor_in_sight:
        grid.dashes(curves.floor)
    grid.line(curves.train)
    grid.marks(curves.val)
    legend = _legend(curves, ascii_only, colour)
    return "\n".join([legend, *_frame(grid, colour), _x_axis(grid)])


class Grid:
    """The characters of a chart, and for each the name of its curve (`owners`), which sets the colour."""

    def __init__(self, columns, rows, x_max, y_min, y_max, ascii_only):
        self.columns, self.rows = columns, rows
        self.x_max, self.y_min, self.y_max = max(x_max, 1), y_min, y_max
        self.across, self.down = (1, 1) if ascii_only else (2, 4)  # dots per letter
        self.ascii_only = ascii_only
        self.letters = [[" "] * columns for _ in range(rows)]
        self.owners = [[None] * columns for _ in range(rows)]

    def _dot(self, x, y):
        """Return the (row, column) of the dot for step x and loss y."""
        across, down = self.columns * self.across - 1, self.rows * self.down - 1
        height = math.log(max(y, self.y_min) / self.y_min) / math.log(self.y_max / self.y_min)
        return round((1 - height) * down), round(x / self.x_max * across)

    def value(self, row: int) -> float:
        """Return the loss at the height of a row of characters."""
        return self.y_max * (self.y_min / self.y_max) ** (row / (self.rows - 1))

    def _put(self, row, column, letter, owner):
        self.letters[row][column] = letter
        self.owners[row][column] = owner

    def dashes(self, y: float) -> None:
        """Draw a dashed horizontal line at the loss `y`."""
        row = self._dot(0, y)[0] // self.down
        for column in range(self.columns):
            self._put(row, column, "-" if self.ascii_only else "┄", "floor")

    def line(self, points: list) -> None:
        """Connect points (step, loss) by straight lines of dots."""
        dots = [self._dot(x, y) for x, y in points]
        for (row, column), (next_row, next_column) in zip(dots, dots[1:] or dots, strict=False):
            n = max(abs(next_row - row), abs(next_column - column), 1)
            for i in range(n + 1):
                self._light(
                    row + round((next_row - row) * i / n), column + round((next_column - column) * i / n)
                )

    def _light(self, dot_row, dot_column):
        row, column = dot_row // self.down, dot_column // self.across
        if self.ascii_only:
            self._put(row, column, ".", "train")
            return
        before = ord(self.letters[row][column]) if self.owners[row][column] == "train" else 0x2800
        dot = BRAILLE_DOTS[dot_row % self.down][dot_column % self.across]
        self._put(row, column, chr(before | dot), "train")

    def marks(self, points: list) -> None:
        """Draw a large dot at each point (step, loss)."""
        for x, y in points:
            row, column = self._dot(x, y)
            self._put(row // self.down, column // self.across, "o" if self.ascii_only else "●", "val")


def _legend(curves, ascii_only, colour):
    names = {
        "train": ("." if ascii_only else "⠤") + " train",
        "val": ("o" if ascii_only else "●") + " validation",
        "floor": f"{'-' if ascii_only else '┄'} entropy floor {curves.floor or 0:.3f}"
        if curves.floor_in_sight
        else f"entropy floor {curves.floor or 0:.3f}, below",
    }
    shown = [name for name in names if (curves.floor if name == "floor" else getattr(curves, name))]
    return (
        "  "
        + "  ".join(paint(names[name], COLOURS[name] * colour) for name in shown)
        + f"  ({curves.unit}, log)"
    )


def _frame(grid, colour):
    """Return the lines of the chart, with the numbers of the vertical axis at the left."""
    bar = "|" if grid.ascii_only else "│"
    lines = []
    for row in range(grid.rows):
        label = _number(grid.value(row)) if row % 3 == 0 or row == grid.rows - 1 else ""
        cells = zip(grid.owners[row], grid.letters[row], strict=True)
        text = ""
        for owner, run in itertools.groupby(cells, key=lambda cell: cell[0]):
            text += paint("".join(letter for _, letter in run), COLOURS.get(owner, "") * colour)
        lines.append(f"{label:>{MARGIN - 1}} {bar}{text}".rstrip())
    return lines


def _number(value):
    """Write a loss in at most six letters."""
    return f"{value:.2f}" if value < 999 else f"{value:.0f}" if value < 1e6 - 1 else f"{value:.0e}"


def _x_axis(grid):
    corner, dash = ("+", "-") if grid.ascii_only else ("└", "─")
    numbers = f"{0:<{grid.columns - 20}}{f'step {grid.x_max}':>20}"
    return " " * MARGIN + corner + dash * grid.columns + "\n" + " " * (MARGIN + 1) + numbers
