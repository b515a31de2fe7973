"""Cut a lesson's script into steps, and show each step before its code runs.

A lesson is a script in percent format, which editors can also open as a notebook: a cell of prose begins with
`# %% [markdown]`, a cell of code with `# %%`.
"""

import io
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tinyllm.files import read_text
from tinyllm.report.terminal import BOLD, FAINT, ITALIC, paint


@dataclass(frozen=True)
class Cell:
    """A cell of prose or code, and the number of its `# %%` line, counted from 1."""

    line: int
    prose: bool
    text: str


def cells(source: str) -> list[Cell]:
    """Cut a script in percent format into cells."""
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


class Stepper:
    """A tracer that shows each step of a running script before the step's code runs: prose, then code.

    pause: called with a prompt before the code of each step; None without a terminal.
    start: the first step to show; earlier steps run with their output hidden.
    """

    number = 0  # of the step that was shown last, in a process

    def __init__(self, frame: FrameType, path: Path, pause: Callable[[str], Any] | None, start: int = 1):
        self.pause, self.output = pause, sys.stdout
        every = cells(read_text(path))
        self.cells = [cell for cell in every if cell.line > frame.f_lineno]  # not shown yet
        self.count = sum(not cell.prose for cell in self.cells)
        self.failed = False  # failed: an exception ends the script (q raises one)
        self.start = min(start, self.count)
        if self.start > 1:
            self.output.write(f"running steps 1 to {self.start - 1} without showing them ...\n")
            sys.stdout = io.StringIO()
        else:
            for cell in every:
                if cell.prose and cell.line < frame.f_lineno:
                    self.write(cell)
        frame.f_trace = self.look
        sys.settrace(lambda *event: None)  # trace no functions that cells call: they run at full speed

    def look(self, frame: FrameType, event: str, value: Any) -> Any:
        """Show all cells up to the one that is about to run. This is the trace function of the script."""
        if event == "line":
            while self.cells and self.cells[0].line < frame.f_lineno:
                self.show(self.cells.pop(0))
        elif event == "return":  # the end of the script
            sys.settrace(None)
            for cell in [] if self.failed else self.cells:  # the prose after the last code
                self.show(cell)
        self.failed = event == "exception"
        return self.look

    def show(self, cell: Cell) -> None:
        """Show a cell, and wait if it is code. Prose belongs to the step of the code that follows."""
        Stepper.number += not cell.prose
        if self.number + cell.prose < self.start:
            return
        sys.stdout = self.output
        self.write(cell)
        if self.pause and not cell.prose:
            prompt = f"{self.number} of {self.count}: Enter runs this code, q + Enter ends"
            dashes = "-" * (min(shutil.get_terminal_size().columns, 80) - len(prompt) - 3)
            self.pause(paint(f"{dashes} {prompt}", FAINT) + " ")

    def write(self, cell: Cell) -> None:
        """Write a cell, with a bar before lines of code, and with colours in a terminal."""
        text = _styled(cell.text) if self.pause else cell.text
        if not cell.prose:
            bar = paint("|", FAINT) if self.pause else "|"
            text = "\n".join(f"{bar} {line}".rstrip() for line in cell.text.split("\n"))
        self.output.write(f"\n{text}\n")


def _styled(text):
    """Show headings and **strong words** in bold, *terms* in italics; leave 2 * 3 * 4 unchanged."""
    text = re.sub(r"(?m)^#+ (.*)$", r"**\1**", text)
    text = re.sub(r"(?s)\*\*(.+?)\*\*", lambda found: paint(found[1], BOLD), text)
    return re.sub(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])", lambda found: paint(found[1], ITALIC), text)
