"""Draw line charts and heat maps as SVG, for light pages, dark pages and print.

The SVG of a chart has coordinates from 0 to 1000 on both axes and is stretched to the page's width. It holds
lines, dots and the grid. Numbers and words are HTML around the SVG, so that they keep their size.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyllm.report.page import Html, html, tag

SIZE = 1000
SHADES = 15  # of a heat map
MARGIN = 4  # cells, for the names at a heat map
TINY = 1e-9  # a chart with smaller values gets a linear axis


@dataclass(frozen=True)
class Series:
    """One curve of a chart, with its points [(x, y)].

    `style` is a CSS class of the page; `look` is "line", "dots" or "dashes".
    """

    name: str
    points: list
    style: str
    look: str = "line"


def chart(title: str, description: str, series: list[Series], unit: str, log: bool = False,
          tall: bool = False, log_x: bool = False) -> Html:
    """Return a <figure> with a title, a legend and the curves, or empty HTML if there are no points.

    description: a text alternative for people who cannot see the picture.
    unit: the unit of the values, shown beside the title.
    log, log_x: make the y axis or the x axis logarithmic.
    """
    series = [s for s in series if s.points]
    if not series:
        return Html()
    axes = Axes([point for s in series for point in s.points], log, log_x)
    legend = [tag("span", s.name, class_=f"key {s.style} {s.look}") for s in series]
    caption = tag("figcaption", tag("strong", title), tag("span", unit, class_="unit"),
                  tag("span", legend if len(series) > 1 else None, class_="legend"))
    picture = tag("svg", tag("title", title), tag("desc", description), axes.grid(),
                  [_draw(s, axes) for s in series], viewBox=f"0 0 {SIZE} {SIZE}", preserveAspectRatio="none",
                  role="img", aria_label=f"{title}: {description}")
    plot = tag("div", picture, axes.labels(), class_="plot")
    return tag("figure", caption, plot, class_="tall" if tall else "small")


def heat_map(x: np.ndarray, description: str, names: Sequence[str] = ()) -> Html:
    """Draw a matrix (N, N) of numbers from 0 to 1 as cells; larger numbers are darker.

    names: N labels, for both rows and columns. To keep the SVG small, neighbours of the same shade in a row
    are one stroke, and cells near 0 are left out.
    """
    strokes: dict[int, str] = {}
    for row, shades in enumerate(np.rint(np.clip(x, 0, 1) * SHADES).astype(int).tolist()):
        column = 0
        for shade, cells in itertools.groupby(shades):
            width = len(list(cells))
            if shade:
                strokes[shade] = strokes.get(shade, "") + f"M{column} {row}.5h{width}"
            column += width
    paths = [tag("path", d=d, stroke_opacity=round(shade / SHADES, 2)) for shade, d in strokes.items()]
    room = MARGIN if names else 0
    rows = [tag("text", name, x=-0.3, y=i + 0.5) for i, name in enumerate(names)]
    columns = [tag("text", name, x=0.3, transform=f"translate({i + 0.5} 0) rotate(-90)", class_="up")
               for i, name in enumerate(names)]
    size = len(x) + room
    return tag("svg", paths, rows, columns, viewBox=f"{-room} {-room} {size} {size}", role="img",
               aria_label=description, class_="map")


def shrink(x: np.ndarray, side: int) -> np.ndarray:
    """Reduce a matrix (N, N) to at most (side, side): each new cell is the maximum of a block of cells."""
    n = len(x)
    if n <= side:
        return x
    step = -(-n // side)
    padded = np.pad(x, ((0, -n % step), (0, -n % step)))
    k = len(padded) // step
    return padded.reshape(k, step, k, step).max(axis=(1, 3))


class Axes:
    """The axes of a chart, which map x (a step) and y (a value) to coordinates of the SVG."""

    def __init__(self, points: list, log: bool, log_x: bool = False):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.log, self.log_x = log and min(ys) > TINY, log_x
        self.x_min = min(xs) if log_x else 0
        self.x_max = max(xs) if log_x else max(*xs, 1)
        low, high = min(ys), max(ys)
        if self.log:
            self.low, self.high = low / 1.05, high * 1.05
            self.y_ticks = log_ticks(self.low, self.high)
        else:
            self.low, self.high = min(low, 0.0), max(high * 1.05, TINY)
            self.y_ticks = ticks(self.low, self.high, 4)
        self.x_ticks = log_ticks(self.x_min, self.x_max) if log_x else ticks(0, self.x_max, 5)

    def x(self, value: float) -> float:
        """Return the horizontal SVG coordinate of a step."""
        return round(SIZE * _part(value, self.x_min, self.x_max, self.log_x), 2)

    def y(self, value: float) -> float:
        """Return the vertical SVG coordinate of a value."""
        return round(SIZE * (1 - _part(value, self.low, self.high, self.log)), 2)

    def grid(self) -> Html:
        """Return an SVG path with a horizontal line at each tick of the vertical axis."""
        return tag("path", class_="grid", d="".join(f"M0 {self.y(value)}H{SIZE}" for value in self.y_ticks))

    def labels(self) -> Html:
        """Return the numbers beside the axes as HTML."""
        ys = [tag("span", _number(v), class_="y", style=f"top:{self.y(v) / 10:.2f}%") for v in self.y_ticks]
        xs = [tag("span", _number(v), class_="x", style=f"left:{self.x(v) / 10:.2f}%") for v in self.x_ticks]
        return tag("div", ys, xs, aria_hidden="true")


def _part(value: float, low: float, high: float, log: bool) -> float:
    """Return where a value is between low (0) and high (1)."""
    return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)


def _number(value: float) -> str:
    """Write a tick's value: 20,000 or 0.0005, but no 2e+04."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _draw(series: Series, axes: Axes) -> Html:
    places = [(axes.x(x), axes.y(y)) for x, y in series.points]
    if series.look != "dots":
        path = "M" + "L".join(f"{x} {y}" for x, y in places)
        return tag("path", class_=f"{series.style} {series.look}", d=path)
    # A line of length 0 with round ends is a dot that is never stretched.
    return html([tag("path", tag("title", f"step {step:,}: {value:.4f}"), class_=f"{series.style} dots",
                     d=f"M{x} {y}h0")
                 for (step, value), (x, y) in zip(series.points, places, strict=True)])


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers from low to high: 0, 500, 1000, ..."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers from low to high for the ticks of a logarithmic axis."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        found = [round(d * 10.0**k, 12) for k in decades for d in digits if low <= d * 10.0**k <= high]
        if len(found) >= 4:
            return found[:: max(1, round(len(found) / 7))]
    return ticks(low, high, 6)  # less than a decade: equal steps are good enough
