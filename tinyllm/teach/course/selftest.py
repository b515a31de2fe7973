"""Graders are graded: what the checker says of what it must accept and of what it must reject.

The reference and the untouched starter go the whole way, through a worker. Mutants and alternatives are the
library's own code and no student's, so they run in this process, but their values take the same wire.
"""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tinyllm.teach import wire
from tinyllm.teach.checker import judge
from tinyllm.teach.solved import solved
from tinyllm.teach.syllabus import ready
from tinyllm.teach.workers import Failure, Zygote
from tinyllm.testing import MISTAKES
from tinyllm.testing.alternatives import ALTERNATIVES
from tinyllm.testing.relations import specs_only


@dataclass(frozen=True)
class Row:
    """What was tried on one task. rejected: (mistake's sentence, the property it broke first or None)."""

    lesson: int
    task: str
    reference: float  # the share of properties that hold
    starter: float
    rejected: tuple
    accepted: int
    alternatives: int
    wrongly: tuple  # alternatives that were turned down, with the reason

    @property
    def good(self):
        """Whether everything came out as it must."""
        killed = all(broken for _, broken in self.rejected)
        return self.reference == 1 and self.starter == 0 and killed and not self.wrongly


class Here:
    """A worker that is this process: for code that we trust. It copies values as a worker would."""

    def __init__(self, name, function):
        self.name, self.function, self.failure = name, function, None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def call(self, name, args, seconds=10, send_args=False):
        """Run the function on a copy of the arguments."""
        args = through_the_wire(list(args))
        try:
            value = self.function(*args)
            return through_the_wire((value, args)) if send_args else through_the_wire(value)
        except Exception as error:
            return Failure("failed", f"{type(error).__name__}: {error}")


def through_the_wire(value):
    """A value as the other side of a wire gets it."""
    frame = wire.dump(value)
    start = wire.PREFIX.size
    header = frame[start : start + wire.PREFIX.unpack(frame[:start])[1]]
    start, payloads = start + len(header), []
    for length in wire.lengths(header):
        payloads.append(frame[start : start + length])
        start += length
    return wire.load(header, payloads)


def selftest(course, level, step=lambda row: None):
    """Try every task of a course that an op judges -> list of Row."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder, Zygote(level) as zygote, specs_only():
        for part in course.parts:
            starter = part.lesson.path / "exercise.py"
            for name in part.points:
                task = part.lesson.task(name)
                if task.kind == "op" and ready(task):
                    rows.append(try_task(part.lesson, task, starter, zygote, Path(folder)))
                    step(rows[-1])
    return rows


def try_task(lesson, task, starter, zygote, folder):
    """Try one task -> Row."""
    solution = folder / "exercise.py"
    solution.write_text(solved(task), "utf-8")
    reference = share(judge(task, lambda: zygote.start(solution), explain=False))
    untouched = share(judge(task, lambda: zygote.start(starter), explain=False)) if starter.is_file() else 0.0
    rejected = [(said, broken_by(task, function)) for said, function in MISTAKES.get(task.op, ())]
    others = ALTERNATIVES.get(task.op, ())
    wrongly = [(f.__name__, broken) for f in others if (broken := broken_by(task, f))]
    accepted = len(others) - len(wrongly)
    tried = (tuple(rejected), accepted, len(others), tuple(wrongly))
    return Row(lesson.number, task.name, reference, untouched, *tried)


def share(verdict):
    """How much of a task holds, from 0 to 1; it is whole only where it passed."""
    of = len(verdict.held) + len(verdict.broken)
    return len(verdict.held) / of if of else 0.0


def broken_by(task, function):
    """The property that a function breaks first, or None where it passes."""
    with contextlib.redirect_stdout(None):
        verdict = judge(task, lambda: Here(task.name, function), explain=False)
    return None if verdict.state == "passed" else verdict.broken[0]
