"""The page of a comparison: where two models first differ, and how the difference grows."""

from pathlib import Path

from tinyllm.report.page import (
    Html,
    assemble,
    column_head,
    details,
    number,
    row_head,
    section,
    table,
    tag,
    write,
)
from tinyllm.report.svg import Series, chart
from tinyllm.report.trace.compare import Comparison, first_difference
from tinyllm.report.trace.page import FOOTER
from tinyllm.report.trace.terminal import amount, place
from tinyllm.report.trace.token_labels import plain

ROWS = 300  # differences in the table


def write_comparison(comparison: Comparison, path: str | Path) -> int:
    """Write the page of a `Comparison` to a file -> its size in bytes. Raises UserError."""
    return write(path, render_comparison(comparison))


def render_comparison(comparison: Comparison) -> str:
    """Return the page as text."""
    c = comparison
    lead = plain(f"A is {c.name_a}; B is {c.name_b}. Both read the same {c.tokens} tokens.")
    verdict = [tag("p", line[0].upper() + line[1:] + ".") for line in c.verdict().split("\n")]
    return assemble("Where two models differ", lead, [_first(c), verdict, _growth(c), _table(c)], FOOTER)


def _first(c: Comparison) -> Html:
    found = first_difference(c.differences)
    if not c.differences:
        return tag("p", f"No difference: all {c.steps} ops gave the same bits.", class_="found")
    if found is None:
        return tag("p", "No difference beyond rounding.", class_="found")
    where = tag("strong", f"First difference: {place(found)}")
    return tag("p", where, Html("<br>"), amount(found), class_="found")


def _growth(c: Comparison) -> Html:
    points = [(i, 100 * layer.share) for i, layer in enumerate(c.layers)]
    if not points:
        return Html()
    words = f"from {points[0][1]:.2g} to {points[-1][1]:.2g} percent"
    picture = chart("Difference", words, [Series("difference", points, "val")],
                    "percent of the size of the numbers, part by part", tall=True)
    rows = [[number(i), row_head(layer.path), number(f"{layer.size:.4g}"), number(f"{layer.difference:.3g}"),
             number(f"{100 * layer.share:.2g} %")] for i, layer in enumerate(c.layers)]
    head = ["", "after", column_head("size"), column_head("difference"), column_head("share")]
    note = "Root mean squares of what comes out of each part, and of the difference between the two."
    return section("How it grows", note, picture, table("by part", head, rows))


def _table(c: Comparison) -> Html:
    if not c.differences:
        return Html()
    cut = f", the first {ROWS}" if len(c.differences) > ROWS else ""
    rows = [[row_head(place(d)), amount(d)] for d in c.differences[:ROWS]]
    what = "every step that differs"
    return details(f"Every step that differs{cut}", table(what, ["where", "how much"], rows))
