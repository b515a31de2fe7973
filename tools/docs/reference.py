"""Write the reference: the help of every command, and every public function with its docstring and source."""

import ast
import contextlib
import importlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import tinyllm as tl
from tinyllm.cli import COMMANDS, build_parser
from tinyllm.cli.command import COMMANDS as FUNCTIONS
from tinyllm.report.page import Html, html, table, tag

LIBRARY = Path(tl.__file__).parent
PARTS = ["ops", "tape", "tensor", "functional", "nn", "models", "decode",
         "train", "runs", "eval", "tokenizer", "data", "world", "report", "testing", "config",
         "files", "rng", "arrays", "padding", "errors"]
Node = ast.FunctionDef | ast.ClassDef


def command_page() -> Html:
    """Return the help of every command, as `--help` prints it in 80 columns."""
    os.environ["COLUMNS"] = "80"
    parts = [tag("h1", "Commands"), tag("pre", _help([]))]
    for name, (module, _) in COMMANDS.items():
        importlib.import_module(f"tinyllm.cli.{module}")
        for words in [words for words in FUNCTIONS if words[0] == name]:
            parts.append(tag("h2", f"tinyllm {' '.join(words)}", id="-".join(words)))
            parts.append(tag("pre", _help(words)))
    parts += [tag("h2", "Settings of tinyllm train"), tag("pre", _help(["train"], "--settings"))]
    return html(parts)


def _help(words, flag="--help") -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        build_parser(words[0] if words else None).parse_args([*words, flag])
    return printed.getvalue()


def reference_pages(code: Callable[[str], Html]) -> Iterator[tuple[str, str, Html]]:
    """Yield (file, title, body) of the list of public names, and of one page for each part of the library."""
    yield "reference/tinyllm.html", "tinyllm", _public_names()
    for part in PARTS:
        folder = LIBRARY / part
        files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        body = html([_module(file, code) for file in files])
        title = f"tinyllm.{part}"
        yield f"reference/{part}.html", title, html([tag("h1", title), _names(body), body])


def _names(body: Html) -> Html:
    """Return links to the functions and classes of a page, in order."""
    found = re.findall(r'<h3 id="([^"]+)"', body)
    links = [tag("a", name.rpartition(".")[2], href=f"#{name}") for name in found]
    return tag("p", *itertools.chain(*((link, " ") for link in links)), class_="names")


def _public_names() -> Html:
    """Return a table of the names of `import tinyllm as tl`."""
    rows = []
    for name in tl.__all__:
        value = getattr(tl, name)
        if isinstance(value, dict):  # such as CHAT_TEMPLATES: its keys say what it holds
            rows.append([f"tl.{name}", ", ".join(value)])
            continue
        module, qualified = value.__module__.split("."), getattr(value, "__name__", name)
        link = tag("a", f"tl.{name}", href=f"{module[1]}.html#{'.'.join([*module[1:], qualified])}")
        rows.append([link, _ticks((value.__doc__ or "").partition("\n")[0])])
    return html([tag("h1", "tinyllm"), tag("pre", "import tinyllm as tl"),
                 table("public names", ["name", "what it does"], rows, class_="names")])


def _module(file: Path, code) -> Html:
    """Return the documentation of one file: its docstring, and its public functions and classes."""
    source = file.read_text("utf-8")
    tree = ast.parse(source)
    name = ".".join(file.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")
    found = [node for node in tree.body if _is_public(node)]
    if not found and not ast.get_docstring(tree):
        return Html()
    said = [tag("h2", f"tinyllm.{name}", id=name), docstring(ast.get_docstring(tree) or "")]
    for node in found:
        methods = [m for m in node.body if isinstance(node, ast.ClassDef) and _is_public(m)]
        start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        text = "\n".join(source.splitlines()[start : node.end_lineno])
        said += [tag("h3", _signature(node), id=f"{name}.{node.name}")]
        said += [docstring(ast.get_docstring(node) or "")]
        said += [tag("div", tag("h4", _signature(m)), docstring(ast.get_docstring(m) or ""), class_="method")
                 for m in methods if ast.get_docstring(m)]
        said.append(tag("details", tag("summary", "source"), code(text)))
    return html(said)


def _is_public(node: ast.AST) -> bool:
    return isinstance(node, Node) and not node.name.startswith("_")


def _signature(node: Node) -> Html:
    if isinstance(node, ast.ClassDef):
        made = [m.args for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "__init__"]
        given = [f"({ast.unparse(args).removeprefix('self').removeprefix(', ')})" for args in made]
        return html(["class ", tag("b", node.name), *given])
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return html([tag("b", node.name), f"({ast.unparse(node.args)}){returns}"])


def docstring(text: str) -> Html:
    """Return a docstring as HTML: paragraphs, `code`, and blocks with an indented line as they are."""
    paragraphs = [part for part in re.split(r"\n{2,}", text) if part.strip()]
    return html([tag("pre", part) if re.search(r"^ ", part, re.M) else tag("p", _ticks(part))
                 for part in paragraphs])


def _ticks(text: str) -> Html:
    parts = re.split(r"`([^`]+)`", text)
    return html([tag("code", part) if i % 2 else part for i, part in enumerate(parts)])
