"""Draw pictures for lessons: rotary positions, tokens, dots and more."""

from collections.abc import Iterable, Sequence

import numpy as np

from tinyllm.report.diagram import Dial, diagram, label
from tinyllm.report.page import Html, figure, tag
from tinyllm.report.svg import heat_map
from tinyllm.report.tokens import running, visible


def clocks(frequencies: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Html:
    """Draw rotary positions as HTML dials: a row per (query position, key position), a column per frequency.

    A dial has two hands, for the query and for the key, at the angles frequency * position.
    """
    gap, shapes = 200, list[Html | Dial]()
    for column, f in enumerate(frequencies):
        shapes.append(label(250 + gap * column, 24, f"f = {f:.3g}", "big"))
        for row, positions in enumerate(pairs):
            query, key = (float(f * position) for position in positions)
            shapes.append(Dial(250 + gap * column, 130 + 180 * row, 74, [(key, "val"), (query, "train")]))
    for row, (query, key) in enumerate(pairs):
        shapes.append(label(20, 119 + 180 * row, f"query at {query}", "left train"))
        shapes.append(label(20, 141 + 180 * row, f"key at {key}", "left val"))
    words = "in each column the angle from key to query is the same in every row"
    size = (250 + gap * len(frequencies) - 90, 30 + 180 * len(pairs))
    return diagram("Rotary positions", words, size, shapes, f"green: the angle between them; {words}")


def dots(title: str, picture: np.ndarray, unit: str = "", patch: int = 1) -> Html:
    """Draw a picture (H, W, 3) of bytes as HTML, with lines between patches of `patch` dots."""
    H, W, _ = picture.shape
    squares = [
        tag("rect", x=x, y=y, width=1, height=1, fill="#" + bytes(picture[y, x]).hex())
        for y in range(H)
        for x in range(W)
    ]
    lines = "".join(f"M{x} 0V{H}" for x in range(patch, W, patch))
    lines += "".join(f"M0 {y}H{W}" for y in range(patch, H, patch))
    drawn = [tag("title", title), *squares, tag("path", d=lines, stroke="#888", stroke_width=0.06)]
    image = tag("svg", drawn, role="img", viewBox=f"0 0 {W} {H}", aria_label=f"{title}: {unit}",
                style="display: block; width: 100%", shape_rendering="crispEdges")
    return figure(title, unit, image)


def next_letters(title: str, letters: Sequence[str], probs: np.ndarray, unit: str) -> Html:
    """Draw the probabilities (V, V) of the next letter as HTML, with a row for each previous letter."""
    names = [visible(letter.encode()) for letter in letters]
    picture = heat_map(np.sqrt(probs), f"{title}: {len(letters)} rows", names)
    return figure(title, unit, tag("div", picture, class_="wide"), class_="drawn")


def coloured(title: str, unit: str, tokens: Iterable[bytes]) -> Html:
    """Draw as HTML a text cut into tokens; neighbours have different colours."""
    styles = ("--s:40", "--s:40; --hot: var(--cool)")
    drawn = [tag("span", running(each), class_="heat", style=styles[i % 2]) for i, each in enumerate(tokens)]
    return figure(title, unit, tag("div", drawn, class_="text"))
