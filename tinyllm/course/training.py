"""Plug a student's functions into `tinyllm train --mine`, and write the messages about them."""

import functools
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from tinyllm.course.syllabus import built_in, find_lesson
from tinyllm.errors import UserError
from tinyllm.runs.run import Run
from tinyllm.train.loop import SMALLER, Diverged

SETTINGS = {
    "preset": "nano", "train.steps": 200, "train.eval_every": 50, "train.sample_every": 100,
    "train.sample_tokens": 200,
}
SLOWER = "what calls yours runs on NumPy, not on the kernels, so this is several times slower"


@dataclass
class Plugins:
    """The functions that a student plugged in, and their settings, notes and messages for a training."""

    parts: list = field(default_factory=list)
    introduction: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)  # used if the user gives no others
    ending: str = ""  # the end of the name of the run's folder
    notes: dict[str, Any] = field(default_factory=dict)  # what the run records about these functions

    def try_out(self, setup: Any) -> None:
        """Train a new model for one step as a test, before anything is written."""
        with self.explaining():
            if self.parts:
                next(setup.steps())
        for part in self.parts:
            part.calls = 0

    @contextmanager
    def explaining(self, run: Run | None = None) -> Iterator[None]:
        """Name the student's functions in the error if training in the `with` block diverges."""
        try:
            yield
        except Diverged as error:
            if not (called := [part for part in self.parts if part.calls]):
                raise
            lessons = dict.fromkeys(str(part.lesson) for part in called)
            ways = [f"`tinyllm check {number}`" for number in lessons]
            ways += [f"`tinyllm blame {quote(str(run.folder))}`"] if run else []
            names = ", ".join(part.op for part in called)
            ask = f"{', '.join(ways)} may find the one to blame"
            raise UserError(f"{str(error).removesuffix(SMALLER)}; these were yours: {names}; {ask}") from None

    def conclusion(self, run: Run) -> Iterator[str]:
        """Yield lines that say how often each function was called, and what to do next."""
        if self.parts:
            called = ", ".join(f"{part.op} {part.calls:,} times" for part in self.parts)
            yield f"your functions were called: {called}"
            yield f"tinyllm blame {quote(str(run.folder))}    compares this with the library's own functions"


def replaced_ops(run: Run) -> dict[str, str]:
    """Return {op: its lesson} for a student's functions in a run. Raises UserError if the run is damaged."""
    ops = [record["op"] for record in run.read().notes.get("replaced_ops", ())]
    return {op: str(built_in().get(op)) for op in ops}


@contextmanager
def plugged_in(lessons: list[str] | None, resumed: str | None = None) -> Iterator[Plugins]:
    """Open a context in which the student's functions of some lessons replace ops.

    resumed: a run's folder, which names the lessons if `lessons` does not. Raises UserError before writing.
    """
    if resumed and not lessons:
        lessons = list(replaced_ops(Run(resumed)).values())
    if not lessons:
        yield Plugins()
        return
    from tinyllm.course import plugins
    from tinyllm.course.workspace import find_workspace

    numbers = dict.fromkeys(map(str.strip, ",".join(lessons).split(",")))  # ["4,7", "8"]
    chosen = list(map(find_lesson, numbers))
    parts, skipped = plugins.load_parts(chosen, find_workspace())
    names = ", ".join(f"{part.op} (lesson {part.lesson})" for part in parts)
    lines = [f"yours: {names}", *skipped, SLOWER]
    with plugins.plug_in(parts):
        notes = {"replaced_ops": [{"op": part.op, "lesson": part.lesson} for part in parts]}
        settings = functools.reduce(operator.or_, (lesson.mine or {} for lesson in chosen), SETTINGS)
        if "start" in settings:  # it brings its own model
            del settings["preset"]
        yield Plugins(parts, lines, settings, "mine", notes)
