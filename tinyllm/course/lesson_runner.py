"""Step through a lesson in a terminal: show a cell, wait for Enter, run it, go on to the next cell.

A lesson is a script in percent format, which editors also open as a notebook: `# %% [markdown]` opens a
cell of prose, `# %%` one of code. `begin` makes the script wait before each cell when it runs in a terminal,
where q or Ctrl-C leaves it; piped, in a notebook or in a test it runs straight through. `predict` asks before
a result, in a terminal and in a notebook, and `compare` answers after it.
"""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import read_text

QUIET = "TINYLLM_LESSON"  # if it is "quiet", or without a terminal, nothing waits or asks


@dataclass(frozen=True)
class Cell:
    """Prose or code between two `# %%`, and the line of the file where it starts, counted from 1."""

    line: int
    prose: bool
    text: str


def cells(source: str) -> list[Cell]:
    """Cut a script in percent format -> list of Cell."""
    found: list[tuple[int, bool, list[str]]] = []
    for number, line in enumerate(source.splitlines(), 1):
        if line.startswith("# %%"):
            found.append((number, "[markdown]" in line, []))
        elif found:
            found[-1][2].append(line)
    return [Cell(n, prose, _text(lines, prose)) for n, prose, lines in found]


def _text(lines, prose):
    if prose:
        lines = [re.sub(r"^# ?", "", line) for line in lines]
    return "\n".join(lines).strip("\n")


def interactive() -> bool:
    """Return True if the script runs in a terminal and TINYLLM_LESSON is not "quiet"."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get(QUIET) != "quiet"


def begin() -> Path:
    """Start stepping through the script that calls this -> its folder; in a notebook the current folder.

    Without a terminal the script does not wait.
    """
    frame = sys._getframe(1)
    path = frame.f_globals.get("__file__")  # no notebook has one
    if path is None:
        return Path.cwd()
    sys.excepthook = _leave
    if interactive():
        _step_through(frame, path)
    return Path(path).absolute().parent


def _step_through(frame, path):
    """Show each cell of a script before the frame that runs it gets there."""
    todo = cells(read_text(path))
    for cell in todo:
        if cell.prose and cell.line < frame.f_lineno:  # the opening; the code that calls this has run
            _show(cell)
    todo = [cell for cell in todo if cell.line > frame.f_lineno]
    steps = [cell for cell in todo if not cell.prose]

    def show_next():
        cell = todo.pop(0)
        _show(cell, "" if cell.prose else f"{steps.index(cell) + 1} of {len(steps)}")

    fell = False  # whether an exception, such as that of q, is on its way out of the script

    def look(frame, event, value):
        nonlocal fell
        if event == "line":
            while todo and todo[0].line < frame.f_lineno:
                show_next()
        elif event == "return":  # the end of the script: prose that stands after the last code
            while todo and not fell:
                show_next()
            sys.settrace(None)
        fell = event == "exception"
        return look

    frame.f_trace = look
    sys.settrace(lambda *event: None)  # functions that the cells call run at full speed


def _leave(kind, error, trace):
    """Handle exceptions of the script: leave quietly on Ctrl-C, and print one line for a UserError."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nstopped", file=sys.stderr)
    elif issubclass(kind, UserError):
        print(f"tinyllm: error: {error}", file=sys.stderr)
        raise SystemExit(2)
    else:
        sys.__excepthook__(kind, error, trace)


def _show(cell, place=""):
    """Show a cell, and wait for Enter if it is code."""
    width = min(shutil.get_terminal_size().columns, 80)
    if cell.prose:
        print(f"\n{_styled(cell.text)}\n")
        return
    print("\n" + "\n".join(f"\033[2m|\033[0m {line}" for line in cell.text.split("\n")))
    prompt = f" {place}: Enter runs this code, q ends"
    _ask(f"\033[2m{'-' * (width - len(prompt) - 2)}{prompt}\033[0m ")


def _styled(text):
    """Show headings and **strong words** in bold, *terms* in italics; leave 2 * 3 * 4 unchanged."""
    text = re.sub(r"(?m)^#+ (.*)$", r"**\1**", text)
    text = re.sub(r"(?s)\*\*(.+?)\*\*", "\033[1m\\1\033[0m", text)
    return re.sub(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])", "\033[3m\\1\033[0m", text)


def _ask(prompt):
    """Wait for a line; q, or the end of the input, ends the lesson."""
    try:
        answer = input(prompt).strip()
    except EOFError:
        answer = "q"
        print()
    if answer.lower() == "q":
        print("stopped")
        sys.exit()
    return answer


def predict(question: str) -> float | None:
    """Ask for a number before the result is shown -> float, or None without an answer."""
    notebook = "ipykernel" in sys.modules and os.environ.get(QUIET) != "quiet"
    how = "(a number, or Enter to pass) "
    asked = f"? {question}" if notebook else f"\033[1m? {question}\033[0m"
    between = " " if notebook or len(question + how) < 76 else "\n  "
    while notebook or interactive():
        try:
            answer = _ask(f"{asked}{between}{how}")
        except NotImplementedError:  # a notebook that is run with nobody in front of it
            break
        if not answer:
            return None
        if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?", answer):
            answer = answer.replace(",", "")
        try:
            return float(answer)
        except ValueError:
            print("  a number such as 4.2, 1,000 or 1e6, please")
    print(f"? {question}")
    return None


def compare(guess: float | None, actual: float) -> str:
    """Compare a prediction with the result -> one line to print."""
    said = f"{actual:,}" if isinstance(actual, int) else f"{actual:.4g}"
    if guess is None:
        return f"it is {said}"
    if guess == actual or (actual and abs(guess / actual - 1) < 0.02):
        return f"it is {said}: you said {guess:.6g}, well predicted"
    if actual and guess and guess * actual > 0:
        ratio = max(guess / actual, actual / guess)
        way = "large" if ratio == guess / actual else "small"
        return f"it is {said}; you said {guess:.6g}, {ratio:.1f} times too {way}"
    return f"it is {said}; you said {guess:.6g}"


def bars(values: Iterable[float], labels: Sequence[Any], width: int = 48) -> str:
    """Draw values >= 0 as horizontal bars, one line for each -> str."""
    values = [float(v) for v in values]
    if len(values) != len(labels):
        raise UserError(f"{len(values)} values need as many labels, not {len(labels)}")
    largest = max(values, default=0) or 1
    pad = max(map(len, map(str, labels)), default=0)
    return "\n".join(
        f"  {label!s:>{pad}} {'#' * round(width * v / largest):<{width}} {v:.4g}"
        for label, v in zip(labels, values, strict=True)
    )


def note(text: str) -> str:
    """Lay out a paragraph for a terminal -> str."""
    return textwrap.fill(" ".join(text.split()), 80)
