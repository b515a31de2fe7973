"""The README's commands: CI runs each `sh` block as it stands; here they are held to what exists."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tinyllm.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")

spec = importlib.util.spec_from_file_location("readme", ROOT / ".ci" / "readme.py")
readme = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme)

RUN = readme.commands(README)
CONSOLE = [line for page in PAGES for line in readme.commands(page.read_text(encoding="utf-8"), "console")]
SHOWN = [line[2:] for line in CONSOLE if line.startswith("$ ")]
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def test_the_two_commands_stand_in_the_readme_and_ci_runs_them():
    assert "make train" in RUN and "make test" in RUN
    assert ".ci/readme.py" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", RUN + SHOWN)
def test_every_command_exists(line):
    given = shlex.split(line, comments=True)
    words = [word for word in given if "=" not in word or word.startswith("-")]
    program = words[0].removeprefix("env/bin/")
    if program == "tinyllm":
        build_parser(words[1]).parse_args(given[1:])  # raises on a flag that does not exist
    elif program == "make":
        assert words[1:] and all(target in TARGETS for target in words[1:])
    elif program == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file() or (ROOT / "lessons" / words[1]).is_file()  # a student's copy
    else:
        assert program in {"python3", "pip", "python", ".", "git", "cd"}, f"who runs {line}?"


@pytest.mark.parametrize("number", range(README.count("```python")))
def test_the_python_runs(number):
    code = re.findall(r"```python\n(.*?)```", README, re.S)[number]
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_commands_join_continued_lines_and_leave_comments_out():
    text = "```sh\n# a note\nmake train \\\n  ARGS=x\n\nmake test\n```\n```console\n$ make verify\n```\n"
    assert readme.commands(text) == ["make train ARGS=x", "make test"]
    assert readme.commands(text, "console") == ["$ make verify"]
    assert readme.commands("```python\nmake = 1\n```") == []
