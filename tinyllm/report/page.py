"""Build pages: single HTML files that open from disk, without a network; only one_page has scripts.

The template page.html and the style sheet style.css are in this folder. Text is escaped unless it is of the
class `Html`, so names, samples and tokens cannot inject HTML.
"""

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from tinyllm.files import atomic_write_bytes, read_text

FOLDER = Path(__file__).parent


class Html(str):
    """A string of HTML, which is not escaped again."""


def html(content: Any) -> Html:
    """Return content as HTML: keep `Html`, drop None, join lists, and escape anything else."""
    if isinstance(content, Html):
        return content
    if isinstance(content, (list, tuple)):
        return Html("".join(map(html, content)))
    return Html("" if content is None else escape(str(content)))


def tag(name: str, *content: Any, **attributes: Any) -> Html:
    """Return an HTML element: tag("td", 5, class_="n") is <td class="n">5</td>. None drops an attribute."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
                   for key, value in attributes.items() if value is not None)
    return Html(f"<{name}{said}>{html(content)}</{name}>")


def assemble(title: str, lead: str, body: Iterable[Any], footer: Any, script: str = "") -> str:
    """Fill the template with the parts of a page and return it; only the script `script` may run in it."""
    template, style = (read_text(FOLDER / name) for name in ("page.html", "style.css"))
    parts = {"title": html(title), "lead": html(lead), "footer": html(footer), "style": style,
             "allowed": f"; script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"}
    return Template(template).substitute(parts, body="\n".join(filter(None, map(html, body))))


def write(path: str | Path, text: str) -> int:
    """Write a page to a file and return its size in bytes; raise UserError if the file cannot be written."""
    data = text.encode("utf-8", "replace")  # names of files may hold bytes that are not text
    atomic_write_bytes(path, data)
    return len(data)


def cards(facts: list[tuple[str, Any, str]]) -> Html:
    """Return a row of numbers in large type, each given as (name, value, unit)."""
    items = [tag("div", tag("dt", name), tag("dd", value, " ", tag("small", unit)))
             for name, value, unit in facts]
    return tag("dl", items, class_="numbers") if items else Html()


def section(title: str, note: Any, *content: Any) -> Html:
    """Return a heading, a paragraph with an explanation, and the content."""
    return html([tag("h2", title), tag("p", note, class_="note") if note else None, *content])


def figure(title: str, unit: str, *content: Any, legend: Any = None, **attributes: Any) -> Html:
    """Return content in a frame with a title, and beside the title a unit or a few words, and a legend."""
    caption = tag("figcaption", tag("strong", title), tag("span", unit, class_="unit"), legend)
    return tag("figure", caption, *content, **attributes)


def table(label: str, head: list[Any], rows: Iterable[list[Any]], class_: str = "") -> Html:
    """Return a table that scrolls; `label` is for screen readers.

    A cell is a td or th element, or the content of one. The first cell of a row is its head.
    """
    top = tag("tr", [_cell(each, "col") for each in head])
    body = [tag("tr", _cell(first, "row"), [_cell(each) for each in others]) for first, *others in rows]
    inside = tag("table", tag("thead", top), tag("tbody", body))
    return tag("div", inside, class_=f"scroll {class_}".strip(), tabindex=0, role="region", aria_label=label)


def _cell(content: Any, scope: str | None = None) -> Html:
    """Return a cell of a table: a `th` if it has a scope."""
    if isinstance(content, Html) and content.startswith(("<td", "<th")):
        return content
    return tag("th" if scope else "td", content, scope=scope)
