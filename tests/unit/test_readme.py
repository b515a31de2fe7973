"""Compare the commands and names of README and docs/ with what exists. (CI runs the commands.)"""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import readme
import size

from tinyllm.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")
READ = (ROOT / "docs" / "read.md").read_text(encoding="utf-8")
TEXTS = [page.read_text(encoding="utf-8") for page in PAGES]
RUN = [line for text in TEXTS for line in readme.commands(text)]
SHOWN = [line[2:] for text in TEXTS for line in readme.commands(text, "console") if line.startswith("$ ")]
PYTHON = [code for text in TEXTS for code in re.findall(r"```python\n(.*?)```", text, re.S)]
KNOWN = {"python3", "pip", "python", ".", "git", "cd", "cat"}
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_the_first_commands_stand_in_the_readme_and_ci_runs_them():
    first = [command.split("  #")[0] for command in readme.commands(README)]
    assert first == ["make train", ". .venv/bin/activate", "make test"]
    assert ".ci/readme.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8") and README.count("\n") < 120


@pytest.mark.parametrize("line", RUN + SHOWN)
def test_every_command_exists(line):
    given = shlex.split(line, comments=True)
    words = [word for word in given if "=" not in word or word.startswith("-")]
    program = words[0].removeprefix("env/bin/")
    if program == "tinyllm":
        build_parser(words[1]).parse_args(given[1:])  # raises if a flag does not exist
    elif program == "make":
        assert words[1:] and all(target in TARGETS for target in words[1:])
    elif program == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file() or (ROOT / "lessons" / words[1]).is_file()  # a student's copy
    else:
        assert program in KNOWN, f"who runs {line}?"


@pytest.mark.parametrize("code", PYTHON)
def test_the_python_runs(code, here):
    """Run the blocks of Python, with 2 steps in place of 20; none may raise."""
    exec(re.sub(r"(steps=|range\()20\b", r"\g<1>2", code), {})


def test_commands_with_output_are_run_and_judged(tmp_path):
    text = ("```console\n$ echo 'a  b'\na  b\n$ make verify\n$ seq 3\n1\n...\n3\n```\n"
            "```sh\n# a note\ntrue \\\n  x\n```\n```python\nmake = 1\n```\n")
    assert readme.steps(text) == [("true x", None), ("echo 'a  b'", "a  b"), ("seq 3", "1\n...\n3")]
    page = tmp_path / "page.md"
    for last, code in (("3", 0), ("4", 1)):
        page.write_text(text.replace("...\n3", f"...\n{last}"))
        done = subprocess.run([sys.executable, readme.__file__, page], capture_output=True, text=True)
        assert done.returncode == code and ("all as shown" in done.stdout) == (not code), done.stdout


def test_size_binds(capsys, monkeypatch):
    """`make size` passes, and fails if any group has too many lines."""
    counts = size.lines()
    assert size.main() == 0
    monkeypatch.setattr(size, "lines", lambda: {path: 1000 * n for path, n in counts.items()})
    assert size.main() == 1 and capsys.readouterr().out.count("too many") == len(size.LIMITS["group"]) + 2


def test_the_docs_name_every_part_and_every_file_of_the_reading_path_once():
    named = []
    for row in READ.partition("| you then know |")[2].partition("\n\n")[0].splitlines():
        folder = ""
        for path in re.findall(r"`([\w/]+\.py)`", row):  # no folder: that of the last path
            folder = path.rpartition("/")[0] or folder
            named.append(f"{folder}/{path.rpartition('/')[2]}".lstrip("/"))
    counted = [path.removeprefix("tinyllm/") for path in size.reading_path(size.lines())]
    assert sorted(named) == sorted(path for path in counted if "__init__" not in path)
    tinyllm = ROOT / "tinyllm"
    found = [*tinyllm.glob("*.py"), *(init.parent for init in tinyllm.glob("*/__init__.py"))]
    parts = {path.stem for path in found if path.stem[0] != "_"}
    assert {part for part in parts if not re.search(rf"`(tinyllm/)?{part}(/|\.py)`", READ)} == set()


def test_every_row_of_the_page_of_figures_is_one_of_the_table():
    """A row of docs/measured.toml must have its command, its machine and all of its numbers."""
    known: dict = {}
    table = tomllib.loads((ROOT / "docs" / "measured.toml").read_text(encoding="utf-8"))
    for what, figure, command, where, day in (row for section in table.values() for row in section["rows"]):
        assert re.fullmatch(r"[A-D]", where) and re.fullmatch(r"2026-\d\d-\d\d", day)
        known.setdefault((command.split(",")[0].split(" (")[0], where), []).extend([what, figure])
    page = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in page.splitlines() if re.match(r"\| [A-Z]", row)]
    assert 15 <= len(rows) <= 30 and page.count("\n") < 80
    for question, figure, command, where in rows:
        numbers = set(re.findall(r"(?<!-)\b\d+(?:[.,]\d+)*(?:e-\d+)?", figure))
        found = " ".join(known[command.split("`")[1], where])
        assert numbers <= set(re.findall(r"\d+(?:[.,]\d+)*(?:e-\d+)?", found)), (question, figure)
