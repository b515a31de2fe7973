"""Draw diagrams as SVG: boxes with words in them, arrows, and dials with hands.

Coordinates count from the upper left corner. The picture is scaled to the width of the page. The page's style
sheet gives the colours; a shape names a class in it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinyllm.report.page import Html, figure, tag

HEAD = 9  # length of an arrow's head


@dataclass(frozen=True)
class Box:
    """A box centred on (x, y) with a text, and a smaller note below the text."""

    x: float
    y: float
    text: str
    note: str = ""
    style: str = ""
    width: float = 150
    height: float = 40

    def draw(self) -> Html:
        """Return the box as SVG."""
        frame = tag("rect", x=self.x - self.width / 2, y=self.y - self.height / 2, width=self.width,
                    height=self.height, rx=7)
        words = [label(self.x, self.y - 9 * bool(self.note), self.text),
                 label(self.x, self.y + 10, self.note, "small")]
        return tag("g", frame, words, class_=f"box {self.style}".strip())


@dataclass(frozen=True)
class Arrow:
    """A line through points, with an arrowhead, and a label at the middle of the last segment."""

    points: Sequence[tuple[float, float]]
    label: str = ""
    style: str = ""

    def draw(self) -> Html:
        """Return the arrow as SVG."""
        (x0, y0), (x1, y1) = self.points[-2:]
        turn = math.atan2(y1 - y0, x1 - x0)
        corners = [(x1 - HEAD * math.cos(turn + a), y1 - HEAD * math.sin(turn + a)) for a in (-0.4, 0.4)]
        tip = tag("path", d=_line([(x1, y1), *corners]) + "Z", class_="tip")
        words = label((x0 + x1) / 2, (y0 + y1) / 2, self.label, "on")
        return tag("g", tag("path", d=_line(self.points)), tip, words, class_=f"arrow {self.style}".strip())


@dataclass(frozen=True)
class Dial:
    """A clock face of radius r with two hands; the angle from the first to the second is filled.

    A hand is (angle, style). Angles are in radians, anticlockwise from the right.
    """

    x: float
    y: float
    r: float
    hands: Sequence[tuple[float, str]]

    def draw(self) -> Html:
        """Return the dial as SVG."""
        (first, _), (second, _) = self.hands
        (x0, y0), (x1, y1) = (self._at(angle, self.r / 2) for angle in (first, second))
        far = int((second - first) % (2 * math.pi) > math.pi)
        wedge = f"M{self.x} {self.y}L{x0:.1f} {y0:.1f}A{self.r / 2} {self.r / 2} 0 {far} 0 {x1:.1f} {y1:.1f}Z"
        arrows = [Arrow([(self.x, self.y), self._at(angle, self.r - 5)], style=style).draw()
                  for angle, style in self.hands]
        return tag("g", tag("circle", cx=self.x, cy=self.y, r=self.r), tag("path", d=wedge), arrows,
                   class_="dial")

    def _at(self, angle, distance):
        return self.x + distance * math.cos(angle), self.y - distance * math.sin(angle)


def _line(points):
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def label(x: float, y: float, text: str, class_: str | None = None) -> Html:
    """Return SVG text that is centred on (x, y) or, with class_="left", begins at (x, y)."""
    return tag("text", text, x=round(x, 1), y=round(y, 1), class_=class_) if text else Html()


def diagram(title: str, description: str, size: tuple[int, int], shapes: Iterable[Box | Arrow | Dial | Html],
            unit: str = "") -> Html:
    """Return a <figure> with a title and shapes, drawn in order: later shapes cover earlier ones.

    description: a text alternative for people who cannot see the picture.
    unit: a few words beside the title, such as a unit or a legend.
    """
    drawn = [shape if isinstance(shape, Html) else shape.draw() for shape in shapes]
    picture = tag("svg", tag("title", title), tag("desc", description), drawn, role="img",
                  viewBox=f"0 0 {size[0]} {size[1]}", class_="diagram",
                  aria_label=f"{title}: {description}",
                  style=f"min-width: {size[0] * 3 // 4}px" if size[0] > 1200 else None)
    return figure(title, unit, tag("div", picture, class_="wide"), class_="drawn")
