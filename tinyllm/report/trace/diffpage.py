"""The page of a comparison: where two models first differ, and how the difference grows."""

from html import escape

from tinyllm.files import atomic_write_text
from tinyllm.report.plot import Series, chart
from tinyllm.report.trace.compare import first_difference
from tinyllm.report.trace.page import assemble
from tinyllm.report.trace.terminal import amount, place

ROWS = 300  # differences in the table


def write_comparison(comparison, path):
    """Write the page of a `Comparison` to a file -> its size in bytes. Raises UserError."""
    text = render_comparison(comparison)
    atomic_write_text(path, text)
    return len(text.encode())


def render_comparison(comparison):
    """Return the page as text."""
    c = comparison
    lead = f"A is {c.name_a}; B is {c.name_b}. Both read the same {c.tokens} tokens."
    verdict = "".join(f"<p>{escape(line[0].upper() + line[1:])}.</p>" for line in c.verdict().split("\n"))
    return assemble("Where two models differ", lead, [_first(c), verdict, _growth(c), _table(c)])


def _first(c):
    found = first_difference(c.differences)
    if not c.differences:
        words = f"No difference: all {c.steps} ops gave the same bits."
    elif found is None:
        words = "No difference beyond rounding."
    else:
        words = f"<strong>First difference: {escape(place(found))}</strong><br>{escape(amount(found))}"
    return f'<p class="found">{words}</p>'


def _growth(c):
    points = [(i, 100 * layer.share) for i, layer in enumerate(c.layers)]
    if not points:
        return ""
    words = f"from {points[0][1]:.2g} to {points[-1][1]:.2g} percent"
    picture = chart("Difference", words, [Series("difference", points, "val")],
                    "percent of the size of the numbers, part by part", tall=True)  # fmt: skip
    rows = "".join(
        f'<tr><td class="n">{i}</td><th scope="row">{escape(layer.path)}</th><td class="n">{layer.size:.4g}'
        f'</td><td class="n">{layer.difference:.3g}</td><td class="n">{100 * layer.share:.2g} %</td></tr>'
        for i, layer in enumerate(c.layers)
    )
    head = "".join(f'<th scope="col"{k}>{n}</th>' for n, k in (
        ("", ""), ("behind", ""), ("size", ' class="n"'), ("difference", ' class="n"'),
        ("share", ' class="n"')))  # fmt: skip
    return (
        '<h2>How it grows</h2><p class="note">Root mean squares of what comes out of each part, and of the '
        f'difference between the two.</p>{picture}<div class="scroll" tabindex="0" role="region" '
        f'aria-label="by part"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _table(c):
    if not c.differences:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(place(d))}</th><td>{escape(amount(d))}</td></tr>'
        for d in c.differences[:ROWS]
    )
    cut = f", the first {ROWS}" if len(c.differences) > ROWS else ""
    return (
        f"<details><summary>Every step that differs{cut}</summary><div class=\"scroll\" tabindex=\"0\" "
        f'role="region" aria-label="every step that differs"><table><thead><tr><th scope="col">where</th>'
        f'<th scope="col">how much</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )
