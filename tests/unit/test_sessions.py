"""Run the sessions of tests/sessions: commands as users type them, and what they print.

A session looks like this, and begins at the left margin:

    == A title, which begins a part with an empty folder of its own
    Prose, up to the first command, says why.
    $ cat > other.py <<END
    Everything up to a line with that word is the command's standard input.
    END
    $ tinyllm check 0 other.py
    lesson 0, Set-up: other.py
    ...
    [1]

`...` stands for any text, also of many lines. `[1]` is the exit code, and is left out where it is 0.
Standard output and standard error are one text of 80 columns. `tinyllm` runs in this process, any other
command in `sh`, which knows `tinyllm` and `python`, too.

To write or renew a session, run `python tests/unit/test_sessions.py tests/sessions/NAME.txt`. It prints the
session with the current output of its commands, and keeps each answer that is still right.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tinyllm.cli import main

FOLDER = Path(__file__).parents[1] / "sessions"
COMMAND = re.compile(
    r"^\$ (?P<line>.*?(?:<<(?P<word>\w+))?)\n"  # a command
    r"(?(word)(?P<stdin>(?:.*\n)*?)(?P=word)\n)",  # its standard input, if it ends with <<WORD
    re.MULTILINE,
)
PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])


class Step(NamedTuple):
    """A command with its standard input, as written and as run, and the answer that is expected."""

    written: str
    line: str
    stdin: str
    expected: str


def parts(text):
    """Cut a session into parts; return {title: (prose, steps)}."""
    found = {}
    for part in re.split(r"(?m)^== ", text)[1:]:
        title, _, rest = part.partition("\n")
        starts = list(COMMAND.finditer(rest))
        ends = [match.start() for match in starts[1:]] + [len(rest)]
        steps = [Step(match[0], match["line"], match["stdin"] or "", rest[match.end() : end].strip("\n"))
                 for match, end in zip(starts, ends, strict=True)]
        assert steps and title not in found, f"{title}: a part needs commands, and a title of its own"
        found[title] = rest[: starts[0].start()], steps
    return found


def answer(step):
    """Run a command in the current folder; return its output, and its exit code if that is not 0."""
    command = step.line.partition("<<")[0]
    words = shlex.split(command)
    if words[0] == "tinyllm":
        printed, code = in_this_process(words[1:], step.stdin)
    else:
        environment = os.environ | {"COLUMNS": "80", "PATH": PATH}
        done = subprocess.run(["sh", "-c", command], input=step.stdin.encode(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=environment)
        printed, code = done.stdout.decode(), done.returncode
    return printed.strip("\n") + f"\n[{code}]" * (code != 0)


def in_this_process(words, stdin):
    """Call `main`; return its output and its exit code."""
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8"))
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            try:
                code = main(words)
            except SystemExit as stop:  # of argparse, after --help
                code = stop.code or 0
        return stream.buffer.getvalue().decode(), code


def agrees(expected, printed):
    """Return True if a text fits the expected one, in which `...` stands for any text."""
    return doctest.OutputChecker().check_output(expected, printed.lstrip("\n"), doctest.ELLIPSIS)


FILES = sorted(FOLDER.glob("*.txt"))
SESSIONS = [(path, title) for path in FILES for title in parts(path.read_text("utf-8"))]


@pytest.mark.parametrize("path, title", SESSIONS, ids=[f"{path.stem}: {title}" for path, title in SESSIONS])
def test_commands_print_what_a_session_shows(path, title, here):
    for step in parts(path.read_text("utf-8"))[title][1]:
        printed = answer(step)
        assert agrees(step.expected, printed), (
            f"{path.name}: $ {step.line}\n--- expected\n{step.expected}\n--- printed\n{printed}"
        )


def test_an_answer_agrees_in_its_text_and_in_its_exit_code(here):
    shown = {"a\nbc\n[3]": True, "a\n...\n[3]": True, "...c\n[3]": True, "a\nbc": False, "a\nb\n[3]": False,
             "...\n[2]": False, "": False}
    for answered, agreed in shown.items():
        [(_, [step])] = parts(f"== x\n$ sh <<END\necho a; echo bc; exit 3\nEND\n{answered}\n").values()
        assert agrees(step.expected, answer(step)) == agreed


def renewed(text):
    """Return a session with the current output of its commands."""
    shown = ""
    for title, (prose, steps) in parts(text).items():
        shown += f"== {title}\n{prose}"
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for step in steps:
                printed = answer(step)
                kept = step.expected if agrees(step.expected, printed) else printed
                shown += step.written + f"{kept}\n" * bool(kept)
        shown += "\n"
    return shown.rstrip("\n") + "\n"


if __name__ == "__main__":
    print(renewed(Path(sys.argv[1]).read_text("utf-8")), end="")
