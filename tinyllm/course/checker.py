"""The checker: the library's own cases and properties, tried on a function that runs in another process.

A task is judged by its op. The op's cases are sorted into properties (ordinary numbers, extreme ones, empty
arrays, views...), each property gets a fresh worker, and what holds is counted. What does not is looked into
by `diagnose`.
"""

import functools
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.course.diagnose import explained
from tinyllm.course.drawing import CASES_PER_TASK, PLAIN, properties
from tinyllm.course.failures import complaint, said
from tinyllm.course.syllabus import Lesson, Task, ready
from tinyllm.course.workers import Failure, Launcher, printable
from tinyllm.testing.relations import specs_only

SHRINK_EXAMPLES = 300


@dataclass(frozen=True)
class Verdict:
    """What is known of one task. state: passed, failed, not_attempted, timed_out or blocked.

    Blocked is what could not be tried: the file does not run, or it asked for what a worker may not have.
    """

    task: str
    state: str
    held: tuple[str, ...] = ()  # names of the properties that hold
    broken: tuple[str, ...] = ()  # and of those that do not
    message: str = ""
    line: int | None = None
    mistake: str | None = None
    step: str | None = None  # the first step that differs and what it should hold, where no mistake fits
    smallest_input: str | None = None
    runs: bool = True  # whether the file itself runs; if not, nothing in it was tried


def judge_task(task: Task, start: Callable[[], Any], folder: Path, **options: Any) -> Verdict:
    """Check one task of any kind -> Verdict. folder: where the student's files are; options as in `judge`."""
    return JUDGES[task.kind](task, start, folder=folder, **options)


SOON = {"cpu_seconds": 10}  # for a function on small arrays, and somebody who waits for the answer


def judge_lesson(lesson: Lesson, launcher: Launcher, path: Path) -> Iterator[tuple[Verdict, str]]:
    """Check every task of a lesson in a student's file -> pairs of Verdict and what was printed first.

    A file that does not run is tried once, and not for every task and property again.
    """
    with launcher.start(path) as worker:
        broken = worker.failure
    for task in lesson.tasks:
        if not ready(task) or task.kind not in JUDGES:
            continue
        workers: list[Any] = []
        if broken and task.kind != "c":  # what is written in C is in a file of its own
            every = properties(task.op) if task.kind == "op" else ()
            yield unusable(task, broken, every), ""
            continue

        def start(workers=workers, limits=SOON if task.kind == "op" else None):
            workers.append(launcher.start(path, limits))
            return workers[-1]

        verdict = judge_task(task, start, path.parent)
        yield verdict, next(filter(None, (first_lines(worker.output) for worker in workers)), "")


WARNING = re.compile(r"^.*\.py:\d+: RuntimeWarning: .*\n(?:  .*\n)?", re.MULTILINE)  # NumPy's, of numbers
FOLDER = re.compile(r"^.*[/\\](?=[^/\\]+\.py:\d+: \w*Warning: )", re.MULTILINE)  # of a student's own warning


def first_lines(output: bytes | bytearray, count: int = 5) -> str:
    """Return the first lines of what a student's code printed, fit for a terminal -> str."""
    lines = FOLDER.sub("", WARNING.sub("", bytes(output).decode("utf-8", "replace"))).split("\n")
    return "\n".join(printable(line, 200) for line in lines[:count] if line.strip())


def judge(task: Task, start: Callable[[], Any], count: int = CASES_PER_TASK, variant: int = 0,
          explain: bool = True, folder: Path | None = None, effort: int = SHRINK_EXAMPLES,
          known: Sequence[tuple] = (), cut: Callable[..., Any] | None = None) -> Verdict:
    """Check one op -> Verdict.

    start: a function that gives a fresh worker with the student's exercise.py. variant: the cases' seed.
    explain: whether a failure is looked into; effort: how many inputs are tried for the smallest that fails.
    known: mistakes to recognise beside those of the op, as (sentence, function).
    cut: a function from a case to the smaller ones that it is made of, which an explanation then shows.
    """
    held: list[str] = []
    broken: dict[str, list[tuple]] = {}
    first: Any = None
    with specs_only():
        for title, cases in properties(task.op, count, variant).items():
            with start() as worker:
                if worker.failure:  # the file itself does not run: no input is to blame
                    return unusable(task, worker.failure, properties(task.op, count, variant))
                tried = [(args, complaint(task.op, title, worker, task.name, args)) for args in cases]
                wrong = [(args, why) for args, why in tried if why]
            if not wrong:
                held.append(title)
                continue
            broken[title] = wrong
            first = first or wrong[0]
            if isinstance(first[1], Failure) and first[1].state != "failed":
                break  # there is no function, or it does not come to an end
        if not broken:
            return Verdict(task.name, "passed", tuple(held))
        every = properties(task.op, count, variant)
        lost = tuple(title for title in every if title not in held)
        verdict = functools.partial(Verdict, task.name, held=tuple(held), broken=lost)
        why = first[1]
        if isinstance(why, Failure) and why.state != "failed":
            return verdict(state=why.state, message=said(why), line=why.line)
        if not explain:
            return verdict(state="failed", message=said(why), line=getattr(why, "line", None))
        ordinary = [args for title in PLAIN for args in every.get(title, ())]
        return explained(task, start, broken, verdict, effort, known, ordinary, cut)


def unusable(task: Task, failure: Failure, every: Sequence[str] | dict[str, Any]) -> Verdict:
    """Return the verdict on a function whose file cannot be imported."""
    state = "blocked" if failure.state == "failed" else failure.state
    message = said(failure)
    return Verdict(task.name, state, broken=tuple(every), message=message, line=failure.line, runs=False)


def elsewhere(module: str, name: str) -> Callable[..., Verdict]:
    """Return a judge that lives in another module of this package, which imports this one."""

    def judge_there(task, start, **options):
        return getattr(importlib.import_module(f"tinyllm.course.{module}"), name)(task, start, **options)

    return judge_there


# How each kind of task is judged: the arguments of `judge` -> Verdict. What is missing here is not checked.
JUDGES = {
    "op": judge,
    "c": elsewhere("kernels", "judge_c"),
    "tests": elsewhere("mutants", "judge_tests"),
    "run": elsewhere("capstone", "judge_run"),
}
