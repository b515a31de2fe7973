"""Draw diagrams as SVG: boxes with words in them, arrows, and dials with hands.

Coordinates count from the upper left corner. The picture is scaled to the width of the page. The page's style
sheet gives the colours; a shape names a class in it.
"""

import math
from collections.abc import Iterable, Sequence

from tinyllm.report.page import Html, figure, tag

HEAD = 9  # length of an arrow's head


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
