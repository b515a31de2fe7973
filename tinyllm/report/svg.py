"""Draw line charts, heat maps and diagrams as SVG, for light pages, dark pages and print.

The SVG of a chart has coordinates from 0 to 1000 on both axes and is stretched to the page's width. It holds
lines, dots and the grid. Numbers and words are HTML around the SVG, so that they keep their size.

A diagram has boxes with words in them, arrows, and dials with hands. Its coordinates count from the upper
left corner; it is scaled to the width of the page. A shape's colours come from the page's style sheet.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyllm.report.page import Html, figure, tag

SIZE = 1000
SHADES = 15  # of a heat map
MARGIN = 4  # cells, for the names beside a heat map
TINY = 1e-9  # a chart with smaller values gets a linear axis
HEAD = 9  # length of an arrow's head


@dataclass(frozen=True)
class Series:
    """One curve of a chart."""

    name: str
    points: list  # [(x, y)]
    style: str  # a CSS class of the page
    look: str = "line"  # or "dots", "dashes"


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
    xs, ys = zip(*(point for s in series for point in s.points), strict=True)
    across, up = Axis(xs if log_x else [*xs, 1], 5, log_x), Axis(ys, 4, log, room=1.05)
    keys = [tag("span", s.name, class_=f"key {s.style} {s.look}") for s in series]
    legend = tag("span", keys if len(series) > 1 else None, class_="legend")
    grid = tag("path", class_="grid", d="".join(f"M0 {SIZE * (1 - up(y)):.2f}H{SIZE}" for y in up.ticks))
    picture = tag("svg", tag("title", title), tag("desc", description), grid,
                  [_draw(s, across, up) for s in series], viewBox=f"0 0 {SIZE} {SIZE}",
                  preserveAspectRatio="none", role="img", aria_label=f"{title}: {description}")
    numbers = [tag("span", _number(y), class_="y", style=f"top:{100 - 100 * up(y):.2f}%") for y in up.ticks]
    numbers += [tag("span", _number(x), class_="x", style=f"left:{100 * across(x):.2f}%")
                for x in across.ticks]
    plot = tag("div", picture, tag("div", numbers, aria_hidden="true"), class_="plot")
    return figure(title, unit, plot, legend=legend, class_="tall" if tall else "small")


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


class Axis:
    """An axis of a chart with about `count` ticks: it maps a value to its place, from 0 to 1.

    A linear axis begins at 0 or below. An axis ends at `room` times the largest value; a logarithmic axis
    begins at the smallest value divided by `room`.
    """

    def __init__(self, values: Sequence[float], count: int, log: bool = False, room: float = 1.0):
        low, high = min(values), max(values)
        self.log = log and low > TINY and high * room > low / room
        self.low, self.high = low / room if self.log else min(low, 0.0), max(high * room, TINY)
        self.ticks = log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, count)

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _number(value: float) -> str:
    """Format a tick's value, for example as 20,000 (not as 2e+04) or 0.0005."""
    return f"{value:,.0f}" if 1000 <= value < 1e8 else f"{value:g}"


def _draw(series: Series, across: Axis, up: Axis) -> Html:
    """Draw a curve. Dots are lines of length 0 with round ends, because these are never stretched."""
    places = [f"{SIZE * across(x):.2f} {SIZE * (1 - up(y)):.2f}" for x, y in series.points]
    line = "".join(f"M{place}h0" for place in places) if series.look == "dots" else "M" + "L".join(places)
    return tag("path", class_=f"{series.style} {series.look}", d=line)


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
    return ticks(low, high, 6)  # a small part of a decade: equal steps are good enough


def box(x: float, y: float, text: str, note: str = "", style: str = "", width: float = 150) -> Html:
    """Return a box centred on (x, y) with a text, and a smaller note below the text."""
    frame = tag("rect", x=x - width / 2, y=y - 22, width=width, height=44, rx=7)
    words = [label(x, y - 9 * bool(note), text), label(x, y + 10, note, "small")]
    return tag("g", frame, words, class_=f"box {style}".strip())


def arrow(points: Sequence[tuple[float, float]], text: str = "", style: str = "") -> Html:
    """Return a line through points, with an arrowhead, and a text at the middle of the last segment."""
    (x0, y0), (x1, y1) = points[-2:]
    turn = math.atan2(y1 - y0, x1 - x0)
    corners = [(x1 - HEAD * math.cos(turn + a), y1 - HEAD * math.sin(turn + a)) for a in (-0.4, 0.4)]
    tip = tag("path", d=_line([(x1, y1), *corners]) + "Z", class_="tip")
    words = label((x0 + x1) / 2, (y0 + y1) / 2, text, "on")
    return tag("g", tag("path", d=_line(points)), tip, words, class_=f"arrow {style}".strip())


def dial(x: float, y: float, r: float, first: tuple[float, str], second: tuple[float, str]) -> Html:
    """Return a clock face of radius r with two hands; the angle from the first to the second is filled.

    A hand is (angle, style). Angles are in radians, anticlockwise from the right.
    """
    def at(angle: float, distance: float) -> tuple[float, float]:
        return x + distance * math.cos(angle), y - distance * math.sin(angle)

    (x0, y0), (x1, y1) = (at(angle, r / 2) for angle, _ in (first, second))
    far = int((second[0] - first[0]) % (2 * math.pi) > math.pi)
    wedge = f"M{x} {y}L{x0:.1f} {y0:.1f}A{r / 2} {r / 2} 0 {far} 0 {x1:.1f} {y1:.1f}Z"
    hands = [arrow([(x, y), at(angle, r - 5)], style=style) for angle, style in (first, second)]
    return tag("g", tag("circle", cx=x, cy=y, r=r), tag("path", d=wedge), hands, class_="dial")


def label(x: float, y: float, text: str, class_: str | None = None) -> Html:
    """Return SVG text that is centred on (x, y) or, with class_="left", begins at (x, y)."""
    return tag("text", text, x=round(x, 1), y=round(y, 1), class_=class_) if text else Html()


def diagram(title: str, description: str, size: tuple[int, int], shapes: Iterable[Html], unit: str = ""
            ) -> Html:
    """Return a <figure> with a title and shapes, drawn in order: later shapes cover earlier ones.

    description: a text alternative for people who cannot see the picture.
    unit: a few words beside the title, such as a unit or a legend.
    """
    picture = tag("svg", tag("title", title), tag("desc", description), *shapes, role="img",
                  viewBox=f"0 0 {size[0]} {size[1]}", class_="diagram",
                  aria_label=f"{title}: {description}",
                  style=f"min-width: {size[0] * 3 // 4}px" if size[0] > 1200 else None)
    return figure(title, unit, tag("div", picture, class_="wide"), class_="drawn")


def _line(points):
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
