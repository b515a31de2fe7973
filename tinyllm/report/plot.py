"""Line charts as HTML and SVG, for the report.

They are sharp at every width and readable in light, dark and print, without scripts. The SVG holds only
what may be stretched (lines, dots, grid); its coordinates run from 0 to 1000 both ways. Numbers and words
are HTML beside it, so that they keep their size on a phone.
"""

import math
from dataclasses import dataclass
from html import escape

SIZE = 1000
TINY = 1e-9  # below this a logarithm shows nothing but noise


@dataclass(frozen=True)
class Series:
    """One curve: its name, its points [(x, y)], and how it looks.

    `style` is a class of the page's CSS, `look` is "line", "dots" or "dashes".
    """

    name: str
    points: list
    style: str
    look: str = "line"


def chart(title, description, series, unit, log=False, tall=False):
    """Return a <figure> with a title, a legend and the curves; "" when there are no points.

    `description` says in words what the picture shows, for those who cannot see it.
    """
    series = [s for s in series if s.points]
    if not series:
        return ""
    axes = Axes([point for s in series for point in s.points], log)
    legend = "".join(f'<span class="key {s.style} {s.look}">{escape(s.name)}</span>' for s in series)
    kind = "tall" if tall else "small"
    name, words = escape(title), escape(description)
    return (
        f'<figure class="{kind}"><figcaption><strong>{name}</strong><span class="unit">{escape(unit)}</span>'
        f'<span class="legend">{legend if len(series) > 1 else ""}</span></figcaption>'
        f'<div class="plot"><svg viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{name}: {words}"><title>{name}</title><desc>{words}</desc>'
        f"{axes.grid()}{''.join(_draw(s, axes) for s in series)}</svg>{axes.labels()}</div></figure>"
    )


class Axes:
    """Where steps and values stand in the square of the SVG."""

    def __init__(self, points, log):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.log = log and min(ys) > TINY
        self.x_max = max(*xs, 1)
        low, high = min(ys), max(ys)
        if self.log:
            self.low, self.high = low / 1.05, high * 1.05
            self.y_ticks = log_ticks(self.low, self.high)
        else:
            self.low, self.high = min(low, 0.0), max(high * 1.05, TINY)
            self.y_ticks = ticks(self.low, self.high, 4)
        self.x_ticks = ticks(0, self.x_max, 5)

    def x(self, value):
        return round(SIZE * value / self.x_max, 2)

    def y(self, value):
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(SIZE * (1 - part), 2)

    def grid(self):
        lines = "".join(f"M0 {self.y(value)}H{SIZE}" for value in self.y_ticks)
        return f'<path class="grid" d="{lines}"/>'

    def labels(self):
        """Return the numbers at the axes, placed in percent."""
        ys = "".join(
            f'<span class="y" style="top:{self.y(v) / 10:.2f}%">{_number(v)}</span>' for v in self.y_ticks
        )
        xs = "".join(
            f'<span class="x" style="left:{self.x(v) / 10:.2f}%">{_number(v)}</span>' for v in self.x_ticks
        )
        return f'<div aria-hidden="true">{ys}{xs}</div>'


def _number(value):
    """Write a tick's value: 20,000 or 0.0005, but no 2e+04."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _draw(series, axes):
    places = [(axes.x(x), axes.y(y)) for x, y in series.points]
    if series.look != "dots":
        path = "M" + "L".join(f"{x} {y}" for x, y in places)
        return f'<path class="{series.style} {series.look}" d="{path}"/>'
    dots = zip(
        series.points, places, strict=True
    )  # a line of no length with round ends is a dot that is never stretched
    return "".join(
        f'<path class="{series.style} dots" d="M{x} {y}h0"><title>step {step:,}: {value:.4f}</title></path>'
        for (step, value), (x, y) in dots
    )


def ticks(low, high, count):
    """Return about `count` round numbers from low to high: 0, 500, 1000, ..."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low, high):
    """Return round numbers that are spread over a logarithmic axis from low to high."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8)):
        found = [round(d * 10.0**k, 12) for k in decades for d in digits if low <= d * 10.0**k <= high]
        if len(found) >= 4:
            return found[:: max(1, round(len(found) / 7))]
    return ticks(low, high, 6)  # less than a decade: equal steps look even enough
