"""Write a lesson's pictures to one HTML file, without scripts and without requests to a network."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tinyllm.report.page import Html, assemble, html, row_head, table, tag, write
from tinyllm.report.svg import Series, chart
from tinyllm.report.tokens import plain

STYLES = ("train", "val", "floor", "other")  # four colours of the page's style sheet
WIDE = "grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr))"
FOOTER = "Written by a lesson of tinyllm. The page holds all it needs: no script, no network."


def curves(title: str, unit: str, values: dict[str, Sequence[float]], log: bool = False) -> Html:
    """Draw at most four curves in one frame: values {name: list of numbers, by step} -> HTML."""
    series = [Series(name, list(enumerate(map(float, ys))), style)
              for (name, ys), style in zip(values.items(), STYLES, strict=False)]  # fmt: skip
    words = "; ".join(f"{s.name} from {s.points[0][1]:.3g} to {s.points[-1][1]:.3g}" for s in series)
    return chart(title, words, series, unit, log=log, tall=True)


def weights(title: str, tokens: Sequence[str], rows: np.ndarray) -> Html:
    """Draw attention weights as a table: rows (T, T), one row for each query, and T tokens -> HTML."""
    head = ["%", *(tag("th", token, scope="col", class_="tok") for token in tokens)]
    body = [[row_head(token, class_="tok"),
             *(tag("td", round(100 * w) or "", class_="heat", style=f"--s:{100 * w:.0f}") for w in row)]
            for token, row in zip(tokens, rows.tolist(), strict=True)]  # fmt: skip
    return tag("section", tag("h3", title), table(title, head, body, class_="lens"))


def write_page(path: str | Path, title: str, lead: str, figures: Iterable[Html]) -> str:
    """Write figures, one below the other, to an HTML file -> a line with its name. Raises UserError."""
    body = [tag("div", [html(figure) for figure in figures], class_="duo", style=WIDE)]
    size = write(path, assemble(plain(title), plain(lead), body, FOOTER))
    return f"wrote {path}, {size / 1000:.0f} kB: open it in a browser"
