"""Write the documentation as a site that opens from disk, without scripts and without a network.

    python tools/docs/build.py [FOLDER]

The pages are README, docs/*.md and their like, the lessons with what they print and draw, the help of every
command, and a reference of the library with its sources. A lesson that fails, or breaks a promise of
syllabus.toml on what it prints or on its memory, and a link that leads nowhere are errors.

Needs markdown-it-py and Pygments (`pip install --editable '.[docs]'`), three packages. mkdocs-material with
mkdocstrings would need 33, and expects docstrings in a form that is not ours.
"""

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from reference import command_page, reference_pages
from run_cells import MARK

from tinyllm.course.stepping import cells
from tinyllm.course.syllabus import Lesson, syllabus
from tinyllm.report.page import Html, html, tag

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
GUIDE = ["docs/use.md", "docs/read.md", "docs/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
LESSONS = "lessons/README.md"


@dataclass
class Page:
    """A page of the site: its file, its group in the contents, its title, and what is on it."""

    path: str
    group: str
    title: str
    body: Html


def code(text: str, language: str = "python", _: str = "") -> Html:
    """Return a block of code in colours."""
    lexer = get_lexer_by_name(language or "text", stripnl=False)
    return Html(f'<pre class="code">{highlight(text, lexer, HtmlFormatter(nowrap=True))}</pre>')


class Writer:
    """Turn Markdown into HTML; `pages` says where each Markdown file of the repository is on the site."""

    def __init__(self, site: Path):
        self.site = site
        self.markdown = MarkdownIt("commonmark", {"highlight": code}).enable("table")
        found = [path for pattern in GUIDE for path in sorted(ROOT.glob(pattern))]
        self.guide = list(dict.fromkeys(path.relative_to(ROOT).as_posix() for path in found))
        self.pages = {"README.md": "index.html", LESSONS: "lessons/index.html"}
        self.pages |= {name: f"guide/{Path(name).stem.lower()}.html" for name in self.guide}

    def html(self, text: str, source: str, page: str) -> Html:
        """Return Markdown as HTML: `source` is its file in the repository, `page` where it will be shown."""
        tokens = self.markdown.parse(text)
        for token, inline in itertools.pairwise(tokens):
            if token.type == "heading_open":
                token.attrSet("id", re.sub(r"[^\w -]", "", inline.content.lower()).replace(" ", "-"))
        for child in itertools.chain.from_iterable(token.children or () for token in tokens):
            if place := {"link_open": "href", "image": "src"}.get(child.type):
                child.attrSet(place, self.link(str(child.attrGet(place)), source, page))
        return Html(self.markdown.renderer.render(tokens, self.markdown.options, {}))

    def link(self, target: str, source: str, page: str) -> str:
        """Return a link of a Markdown file as it is on its page; a picture is copied to the site."""
        name, _, anchor = target.partition("#")
        if not name or ":" in name:
            return target
        file = os.path.normpath(Path(source).parent / name)
        if file.endswith(".png"):
            shutil.copy(ROOT / file, self.site / Path(file).name)
            to = self.site / Path(file).name
        else:
            to = self.site / self.pages[file] if file in self.pages else ROOT / file
        return os.path.relpath(to, (self.site / page).parent) + (f"#{anchor}" if anchor else "")

    def page(self, source: str, group: str) -> Page:
        """Return the page of a Markdown file."""
        text = (ROOT / source).read_text("utf-8")
        title = text.partition("\n")[0].lstrip("# ")
        return Page(self.pages[source], group, title, self.html(text, source, self.pages[source]))


def outputs(folder: Path) -> tuple[list[str], int]:
    """Copy a lesson and run its cells in a new process -> what each printed, and its peak memory in MiB."""
    shutil.copytree(ROOT / "lessons" / folder.name, folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, HERE / "run_cells.py", folder / "lesson.py"]
    quiet = os.environ | {"TINYLLM_LESSON": "quiet"}
    done = subprocess.run(command, cwd=folder, env=quiet, text=True, stdout=subprocess.PIPE, check=True)
    _, *printed, peak = done.stdout.split(MARK)
    return printed, int(peak)


def picture(page: Path) -> Html:
    """Return the figures of a page that a lesson wrote, or a frame with the page if it is long."""
    text, name = page.read_text("utf-8"), f"{page.parent.name}/{page.name}"
    if len(text) < 40_000:
        return Html(text.partition("</header>")[2].partition("<footer>")[0])
    link = tag("p", tag("a", "Open this page alone", href=name))
    return html([tag("iframe", src=name, title=page.stem, loading="lazy"), link])


def lesson_page(writer: Writer, lesson: Lesson, printed: list[str]) -> Page:
    """Return the page of a lesson: its prose, its code, what that printed, its pictures and its exercise."""
    copy = writer.site / "lessons" / lesson.folder
    path, parts = f"lessons/{lesson.folder}.html", []
    source = (copy / "lesson.py").read_text("utf-8")
    for cell, text in zip(cells(source), printed, strict=True):
        if cell.prose:
            parts.append(writer.html(cell.text, f"lessons/{lesson.folder}/lesson.py", path))
            continue
        parts.append(code(cell.text))
        wrote = r"^wrote (?:.*/)?([\w.-]+\.html).*\n"
        if said := re.sub(wrote, "", text, flags=re.M).strip("\n"):
            parts.append(tag("pre", said, class_="output"))
        parts += [picture(copy / name) for name in re.findall(wrote, text, re.M)]
    exercise = code(lesson.files[lesson.exercise], lesson.exercise.partition(".")[2])
    parts.append(tag("details", tag("summary", "The exercise"), exercise))
    return Page(path, "Lessons", f"{lesson.number}. {lesson.title}", html(parts))


def link_lessons(lessons: list[Page]) -> None:
    """Link at the end of each lesson's page to the lessons before and after it."""
    for before, page, after in zip([None, *lessons], lessons, [*lessons[1:], None], strict=False):
        links = [tag("a", f"{word}: {other.title}", href=Path(other.path).name)
                 for word, other in (("before", before), ("next", after)) if other]
        page.body = html([page.body, tag("p", *itertools.chain(*((link, " ") for link in links)))])


def contents(pages: list[Page], here: Page) -> Html:
    """Return the links to all pages, by group."""
    parts = []
    for group in dict.fromkeys(page.group for page in pages):
        links = [tag("a", page.title, href=os.path.relpath(page.path, Path(here.path).parent),
                     aria_current="page" if page is here else None) for page in pages if page.group == group]
        parts.append(html([tag("h2", group), tag("ul", [tag("li", link) for link in links])]))
    return html(parts)


def write(pages: list[Page], site: Path) -> None:
    """Write all pages, and the style sheet with the colours of code for light and dark screens."""
    template = (HERE / "page.html").read_text("utf-8")
    dark = HtmlFormatter(style="github-dark").get_style_defs("pre.code")
    style = [(ROOT / "tinyllm/report/style.css").read_text("utf-8"),  # so that figures look as in reports
             HtmlFormatter().get_style_defs("pre.code"),
             f"@media (prefers-color-scheme: dark) {{ {dark} }}", (HERE / "site.css").read_text("utf-8")]
    (site / "site.css").write_text("\n".join(style), "utf-8")
    for page in pages:
        parts = {"TITLE": html(page.title), "CONTENTS": contents(pages, page), "BODY": page.body,
                 "ROOT": os.path.relpath(".", Path(page.path).parent)}
        text = re.sub(r"\$([A-Z]+)", lambda match, parts=parts: parts[match[1]], template)
        (site / page.path).parent.mkdir(parents=True, exist_ok=True)
        (site / page.path).write_text(text, "utf-8")


def dead_links(pages: list[Page], site: Path) -> Iterator[str]:
    """Yield the links of the site that lead to no file, or to no place on a page."""
    ids = {(site / page.path).resolve(): set(re.findall(r' id="([^"]+)"', page.body)) for page in pages}
    for page in pages:
        for target in re.findall(r' (?:href|src)="([^":]+)"', page.body):
            name, _, anchor = target.partition("#")
            here = site / page.path
            file = (here.parent / name if name else here).resolve()
            if not file.exists() or (anchor and file in ids and anchor not in ids[file]):
                yield f"{page.path}: {target}"


def main(folder: str = "build/docs") -> int:
    site = Path(folder).absolute()
    if site.exists() and any(site.iterdir()) and not (site / "site.css").is_file():
        sys.exit(f"{site} is no site that this tool has written: choose an empty folder")
    shutil.rmtree(site, ignore_errors=True)
    (site / "lessons").mkdir(parents=True)
    writer = Writer(site)
    pages = [writer.page("README.md", "Start"), *(writer.page(name, "Guide") for name in writer.guide)]
    pages += [Page("guide/commands.html", "Guide", "Commands", command_page())]
    pages += [writer.page(LESSONS, "Lessons")]
    wrong: list[str] = []
    with ThreadPoolExecutor(2) as pool:  # a lesson keeps little more than one processor busy
        printed = pool.map(outputs, [site / "lessons" / lesson.folder for lesson in syllabus()])
        for lesson, (texts, peak) in zip(syllabus(), printed, strict=True):
            print(f"lesson {lesson.number}", flush=True)
            broken = [*lesson.broken("".join(texts)), *([f"{peak} MiB"] if peak > lesson.memory else [])]
            wrong += [f"{lesson.folder}: {promise}" for promise in broken]
            pages.append(lesson_page(writer, lesson, texts))
    link_lessons(pages[-len(syllabus()):])
    pages += [Page(path, "Reference", title, body) for path, title, body in reference_pages(code)]
    write(pages, site)
    wrong += [f"a link leads nowhere: {link}" for link in dead_links(pages, site)]
    if wrong:
        print(*wrong, sep="\n")
        return 1
    print(f"{len(pages)} pages; open {site / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
