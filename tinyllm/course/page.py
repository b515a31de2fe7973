"""A lesson's pictures: one HTML file without scripts, which opens from disk and asks nothing of a network."""

from html import escape
from pathlib import Path

from tinyllm.files import atomic_write_text
from tinyllm.report.plot import Series, chart
from tinyllm.report.trace.page import assemble

STYLES = ("train", "val", "floor", "other")  # four colours of the page's style sheet
WIDE = "grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr))"
FOOTER = "Written by a lesson of tinyllm. The page holds all it needs: no script, no network."


def curves(title, unit, values, log=False):
    """Draw at most four curves in one frame: values {name: list of numbers, by step} -> HTML."""
    series = [Series(name, list(enumerate(map(float, ys))), style)
              for (name, ys), style in zip(values.items(), STYLES, strict=False)]  # fmt: skip
    words = "; ".join(f"{s.name} from {s.points[0][1]:.3g} to {s.points[-1][1]:.3g}" for s in series)
    return chart(title, words, series, unit, log=log, tall=True)


def weights(title, tokens, rows):
    """Draw attention weights as a table: rows (T, T), a query's weights in each, for T tokens -> HTML."""
    names = [escape(token) for token in tokens]
    head = "".join(f'<th scope="col" class="tok">{name}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row" class="tok">{name}</th>'
        + "".join(f'<td class="heat" style="--s:{100 * w:.0f}">{round(100 * w) or ""}</td>' for w in row)
        + "</tr>"
        for name, row in zip(names, rows.tolist(), strict=True)
    )
    return (
        f'<section><h3>{escape(title)}</h3><div class="scroll lens" tabindex="0" role="region" '
        f'aria-label="{escape(title)}"><table><thead><tr><th scope="col">%</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def write_page(path, title, lead, figures):
    """Write figures one below the other to a file -> a line that says so. Raises UserError."""
    text = assemble(title, lead, [f'<div class="duo" style="{WIDE}">{"".join(figures)}</div>'], FOOTER)
    atomic_write_text(Path(path), text)
    return f"wrote {path}, {len(text.encode()) / 1000:.0f} kB: open it in a browser"
