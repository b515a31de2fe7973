"""Draw the pictures of lessons, and write them to an HTML file that has no scripts and loads nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tinyllm.course.lesson_runner import show_page
from tinyllm.report.page import Html, assemble, figure, html, table, tag, write
from tinyllm.report.svg import Series, chart, diagram, dial, heat_map, label
from tinyllm.report.tokens import plain, running, visible

STYLES = ("train", "val", "floor", "other")  # four colours of the page's style sheet
WIDE = "grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr))"
FOOTER = "Written by a lesson of tinyllm. The page holds all it needs: no script, no network."


def curves(title: str, unit: str, values: dict[str, Sequence[float]], log: bool = False,
           at: Sequence[float] | None = None, dashed: str = "", log_x: bool = False) -> Html:
    """Draw at most four curves {name: numbers} as HTML, at steps 0, 1, ... or `at`; one may be dashed.

    log, log_x: make the y axis or the x axis logarithmic.
    """
    series = [Series(name, list(zip(at or range(len(ys)), map(float, ys), strict=True)), style,
                     "dashes" if name == dashed else "line")
              for (name, ys), style in zip(values.items(), STYLES, strict=False)]
    words = "; ".join(f"{s.name} from {s.points[0][1]:.3g} to {s.points[-1][1]:.3g}" for s in series)
    return chart(title, words, series, unit, log=log, tall=True, log_x=log_x)


def weights(title: str, tokens: Sequence[str], rows: np.ndarray) -> Html:
    """Draw the attention weights `rows` (T, T) of T tokens as an HTML table with a row for each query."""
    head = ["%", *(tag("th", token, scope="col", class_="tok") for token in tokens)]
    body = [[tag("th", token, scope="row", class_="tok"),
             *(tag("td", round(100 * w) or "", class_="heat", style=f"--s:{100 * w:.0f}") for w in row)]
            for token, row in zip(tokens, rows.tolist(), strict=True)]
    return tag("section", tag("h3", title), table(title, head, body, class_="lens"))


def told(title: str, text: str) -> Html:
    """Format as HTML a text that a model wrote."""
    return tag("figure", tag("figcaption", tag("strong", title)), tag("p", text, class_="told"))


def roofline(gflops: float, gb_per_second: float, programs: dict[str, tuple[float, float]]) -> Html:
    """Draw a roofline as HTML, with at most three programs {name: (operations per byte, GFLOP/s)}."""
    ridge = gflops / gb_per_second
    at = [0.1, ridge, max(1000.0, 2 * ridge)]
    series = [Series("the roof", [(x, min(x * gb_per_second, gflops)) for x in at], "floor")]
    styled = zip(programs.items(), ("val", "train", "other"), strict=False)
    series += [Series(name, [point], style, "dots") for (name, point), style in styled]
    words = "; ".join(f"{name} at {speed:.3g}" for name, (_, speed) in programs.items())
    unit = "GFLOP/s by operations per byte of memory"
    return chart("The roofline", words, series, unit, log=True, tall=True, log_x=True)


def clocks(frequencies: np.ndarray, pairs: Sequence[tuple[int, int]]) -> Html:
    """Draw the angles of queries and keys as dials: a row per pair of positions, a column per frequency."""
    gap, shapes = 200, list[Html]()
    for column, f in enumerate(frequencies):
        shapes.append(label(250 + gap * column, 24, f"f = {f:.3g}", "big"))
        for row, positions in enumerate(pairs):
            query, key = (float(f * position) for position in positions)
            shapes.append(dial(250 + gap * column, 130 + 180 * row, 74, (key, "val"), (query, "train")))
    for row, (query, key) in enumerate(pairs):
        shapes.append(label(20, 119 + 180 * row, f"query at {query}", "left train"))
        shapes.append(label(20, 141 + 180 * row, f"key at {key}", "left val"))
    words = "in each column the angle from key to query is the same in every row"
    size = (250 + gap * len(frequencies) - 90, 30 + 180 * len(pairs))
    return diagram("Rotary positions", words, size, shapes, f"green: the angle between them; {words}")


def dots(title: str, picture: np.ndarray, unit: str = "", patch: int = 1) -> Html:
    """Draw a picture (H, W, 3) of bytes as HTML, with lines between patches of `patch` dots."""
    H, W, _ = picture.shape
    squares = [tag("rect", x=x, y=y, width=1, height=1, fill="#" + bytes(picture[y, x]).hex())
               for y in range(H) for x in range(W)]
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


def write_page(path: Path, title: str, lead: str, figures: Iterable[Html]) -> None:
    """Write figures to an HTML file and print its path."""
    drawn = [html(each) for each in figures]
    if len(drawn) % 2:  # two figures share a row, so the first gets a row of its own
        drawn[0] = tag("div", drawn[0], style="grid-column: 1 / -1; min-width: 0")
    body = [tag("div", drawn, class_="duo", style=WIDE)]
    write(path, assemble(plain(title), plain(lead), body, FOOTER))
    show_page(path)
