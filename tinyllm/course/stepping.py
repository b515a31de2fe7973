"""Cut a lesson's script into steps, and show each step before its code runs.

A lesson is a script in percent format, which editors can also open as a notebook: a cell of prose begins with
`# %% [markdown]`, a cell of code with `# %%`.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tinyllm.course.screen import Screen
from tinyllm.course.workspace import keep_place, place
from tinyllm.files import read_text
from tinyllm.report.terminal import BOLD, FAINT, ITALIC, paint


@dataclass(frozen=True)
class Cell:
    """Prose or code between two `# %%`, and the number of its first line, counted from 1."""

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


@dataclass
class LessonStep:
    """A cell of code with the prose before it. At the end of a lesson, the code may be None."""

    prose: list[Cell] = field(default_factory=list)
    code: Cell | None = None


class Stepper:
    """A tracer that shows each step of a running script before the step's code runs.

    waits: True in a terminal, where Enter starts each step.
    start: the first step to show; by default the user is asked if the last run was left in the middle.
    """

    def __init__(self, frame: FrameType, path: Path, waits: bool, start: int | None = None):
        self.folder, self.waits = path.parent, waits
        self.screen = sys.stdout = Screen(sys.stdout)
        every = cells(read_text(path))
        opening = [cell for cell in every if cell.prose and cell.line < frame.f_lineno]
        self.steps = steps(cell for cell in every if cell.line > frame.f_lineno)
        self.count = sum(step.code is not None for step in self.steps)
        self.number, self.fell = 0, False  # fell: an exception ends the script (q raises one)
        self.start = min(start or self._ask_where(), self.count)
        if self.start > 1:
            self.screen.write(f"running steps 1 to {self.start - 1} without showing them ...\n")
            self.screen.muted = True
        else:
            self._write(opening)
        frame.f_trace = self.look
        sys.settrace(lambda *event: None)  # functions that the cells call run at full speed

    def _ask_where(self):
        """Return the step to start at; ask the user if the last run was left in the middle."""
        stopped = min(place(self.folder), self.count)
        if not self.waits or stopped < 2:
            return 1
        where = f"you stopped at step {stopped} of {self.count}: "
        while True:
            answer = self.screen.ask(f"\n{where}Enter goes on there, 1 starts again, q + Enter ends ")
            if not answer or re.fullmatch("[1-9][0-9]{0,3}", answer):
                return int(answer or stopped)

    def look(self, frame: FrameType, event: str, value: Any) -> Any:
        """Show a step before its first line runs. This is the trace function of the script."""
        if event == "line":
            while self.steps and self.steps[0].code and self.steps[0].code.line < frame.f_lineno:
                self.show(self.steps.pop(0))
        elif event == "return":  # the end of the script
            sys.settrace(None)
            if not self.fell:
                self.end()
            sys.stdout = self.screen.stream
        self.fell = event == "exception"
        return self.look

    def end(self) -> None:
        """Show the prose after the last code, and record that the lesson is finished."""
        for step in self.steps:
            self.show(step)
        if self.waits:
            keep_place(self.folder, 0)

    def show(self, step: LessonStep) -> None:
        """Show a step, and wait if it has code to run."""
        self.number += step.code is not None
        if step.code and self.number < self.start:
            return
        self.screen.muted = False
        if step.code and self.waits:
            keep_place(self.folder, self.number)
        self._write([*step.prose, step.code] if step.code else step.prose)
        if step.code and self.waits:
            self.screen.pause(f"{self.number} of {self.count}: Enter runs this code, q + Enter ends")

    def _write(self, found):
        """Write cells, code behind a bar; in colours if `waits`."""
        bar = paint("|", FAINT * self.waits)
        for cell in found:
            text = (_styled(cell.text) if self.waits else cell.text) if cell.prose else \
                "\n".join(f"{bar} {line}".rstrip() for line in cell.text.split("\n"))
            self.screen.write(f"\n{text}\n")


def steps(found: Iterable[Cell]) -> list[LessonStep]:
    """Group cells into steps that end with code; the last step may be prose alone."""
    grouped = [LessonStep()]
    for cell in found:
        if cell.prose:
            grouped[-1].prose.append(cell)
        else:
            grouped[-1].code = cell
            grouped.append(LessonStep())
    return grouped if grouped[-1].prose else grouped[:-1]


def _styled(text):
    """Show headings and **strong words** in bold, *terms* in italics; leave 2 * 3 * 4 unchanged."""
    text = re.sub(r"(?m)^#+ (.*)$", r"**\1**", text)
    text = re.sub(r"(?s)\*\*(.+?)\*\*", lambda found: paint(found[1], BOLD), text)
    return re.sub(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])", lambda found: paint(found[1], ITALIC), text)
