"""Write a lesson's pictures to one HTML file, which contains no scripts and loads nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tinyllm.course.lesson_runner import show_page
from tinyllm.report.page import Html, assemble, html, row_head, table, tag, write
from tinyllm.report.svg import Series, chart
from tinyllm.report.tokens import plain

STYLES = ("train", "val", "floor", "other")  # four colours of the page's style sheet
WIDE = "grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr))"
FOOTER = "Written by a lesson of tinyllm. The page holds all it needs: no script, no network."


def curves(title: str, unit: str, values: dict[str, Sequence[float]], log: bool = False,
           at: Sequence[float] | None = None, dashed: str = "") -> Html:
    """Draw at most four curves {name: numbers} as HTML, at steps 0, 1, ... or at the steps `at`.

    dashed: the name of a curve to draw dashed, because it may lie on another.
    """
    series = [Series(name, list(zip(at or range(len(ys)), map(float, ys), strict=True)), style,
                     "dashes" if name == dashed else "line")
              for (name, ys), style in zip(values.items(), STYLES, strict=False)]
    words = "; ".join(f"{s.name} from {s.points[0][1]:.3g} to {s.points[-1][1]:.3g}" for s in series)
    return chart(title, words, series, unit, log=log, tall=True)


def weights(title: str, tokens: Sequence[str], rows: np.ndarray) -> Html:
    """Draw the attention weights `rows` (T, T) of T tokens as an HTML table with a row for each query."""
    head = ["%", *(tag("th", token, scope="col", class_="tok") for token in tokens)]
    body = [[row_head(token, class_="tok"),
             *(tag("td", round(100 * w) or "", class_="heat", style=f"--s:{100 * w:.0f}") for w in row)]
            for token, row in zip(tokens, rows.tolist(), strict=True)]
    return tag("section", tag("h3", title), table(title, head, body, class_="lens"))


def told(title: str, text: str) -> Html:
    """Format as HTML a text that a model wrote."""
    return tag("figure", tag("figcaption", tag("strong", title)), tag("p", text, class_="told"))


def roofline(gflops: float, gb_per_second: float, dots: dict[str, tuple[float, float]]) -> Html:
    """Draw a roofline as HTML, with at most three programs {name: (operations per byte, GFLOP/s)}."""
    ridge = gflops / gb_per_second
    at = [0.1, ridge, max(1000.0, 2 * ridge)]
    series = [Series("the roof", [(x, min(x * gb_per_second, gflops)) for x in at], "floor")]
    styles = ("val", "train", "other")
    series += [Series(name, [dots[name]], style, "dots") for name, style in zip(dots, styles, strict=False)]
    words = "; ".join(f"{name} at {speed:.3g}" for name, (_, speed) in dots.items())
    unit = "GFLOP/s by operations per byte of memory"
    return chart("The roofline", words, series, unit, log=True, tall=True, log_x=True)


def write_page(path: Path, title: str, lead: str, figures: Iterable[Html]) -> None:
    """Write figures to an HTML file and print its path; in a notebook, show the file."""
    drawn = [html(figure) for figure in figures]
    if len(drawn) % 2:  # the first above the pairs
        drawn[0] = tag("div", drawn[0], style="grid-column: 1 / -1; min-width: 0")
    body = [tag("div", drawn, class_="duo", style=WIDE)]
    write(path, assemble(plain(title), plain(lead), body, FOOTER))
    show_page(path)
