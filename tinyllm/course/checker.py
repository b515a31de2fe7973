"""Check a student's function, in another process, on the library's own cases.

The cases are grouped by the property that they test (ordinary numbers, extreme numbers, empty arrays,
views...). Each property is checked in a fresh worker. `diagnose` explains the first failure.
"""

import functools
import importlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.course.diagnose import diagnose
from tinyllm.course.drawing import CASES_PER_TASK, properties
from tinyllm.course.failures import complaint, format_failure
from tinyllm.course.syllabus import Exercise, Lesson
from tinyllm.course.workers import Failure, Launcher, printable
from tinyllm.testing.properties import RIGHT
from tinyllm.testing.relations import specs_only


@dataclass(frozen=True)
class Verdict:
    """The result of checking one exercise; `state` is passed, failed, not_attempted, timed_out or blocked.

    An exercise is blocked if it could not be tried, because the file does not run or did something forbidden.
    """

    task: str
    state: str
    held: tuple[str, ...] = ()  # names of the properties that hold
    broken: tuple[str, ...] = ()  # names of the properties that do not hold
    message: str = ""
    line: int | None = None
    mistake: str | None = None
    step: str | None = None  # if no known mistake fits: the first step that differs, and its right value
    smallest_input: str | None = None
    runs: bool = True  # False if the file itself fails, so that nothing in it was tried


def as_record(lesson: Lesson, verdict: Verdict) -> dict[str, Any]:
    """Convert a verdict to a dict of plain values, for `check --json` and results.json."""
    record = {name: getattr(verdict, name) for name in
              ("task", "state", "mistake", "smallest_input", "message", "line", "step")}
    hint = next(iter(lesson.hints(verdict.task)), None) if verdict.state != "passed" else None
    return record | {"properties_held": len(verdict.held), "hint": hint,
                     "properties": len(verdict.held) + len(verdict.broken)}


def module_of(task: Exercise) -> Any:
    """Return the module whose functions `cases` and `judge` check an exercise of this kind."""
    return importlib.import_module(f"tinyllm.course.{task.about.judge}")  # here, as it may import this file


def titles_of(task: Exercise) -> tuple[str, ...]:
    """Return the names of the properties that an exercise of any kind must have."""
    return tuple(module_of(task).cases(task))


def judge_task(task: Exercise, start: Callable[[], Any], folder: Path, **options: Any) -> Verdict:
    """Check an exercise of any kind. `folder` contains the student's files; options are passed to `judge`."""
    return module_of(task).judge(task, start, folder=folder, **options)


PATIENCE = 9  # seconds of processor time for all work after wrong answers to a lesson, if a student waits
CLOCK_SECONDS = 60  # by the clock, for a worker, if a student waits
CALL_SECONDS = 0.75  # of processor time, for a call, if a student waits; right functions need at most 0.2


def judge_lesson(tasks: Iterable[Exercise], launcher: Launcher, path: Path, soon: bool = False,
                 judge: Callable[..., Verdict] = judge_task, **options: Any) -> Iterator[tuple[Verdict, str]]:
    """Check exercises in a student's file; yield each Verdict with the first lines that the code printed.

    A file that cannot be imported is tried only once, not again for every exercise.

    soon: True if a student waits. Each call then ends after CALL_SECONDS. All work after wrong results, such
        as the search for the cause, shares PATIENCE seconds: each exercise may use half of the time that is
        left.
    judge: the function that checks one exercise.
    options: passed on to `judge`.
    """
    before = launcher.used()

    def clock() -> Callable[[], float]:
        now = launcher.used()
        end = now + max((PATIENCE - (now - before)) / 2, 1)
        return lambda: end - launcher.used()

    options |= {"clock": clock} if soon else {}
    limits = {"call_seconds": CALL_SECONDS, "total_seconds": CLOCK_SECONDS} if soon else {}
    broken, there = None, path.is_file()
    if there:
        with launcher.start(path, limits) as worker:
            broken = worker.failure
    for task in tasks:
        titles = titles_of(task)
        workers: list[Any] = []
        if task.about.file == path.name and (broken or not there):
            missing = Verdict(task.name, "not_attempted", broken=titles, message=f"{path.name} is missing")
            yield unusable(task, broken, titles) if broken else missing, ""
            continue

        def start(workers: list[Any] = workers) -> Any:
            workers.append(launcher.start(path, limits))
            return workers[-1]

        verdict = judge(task, start, path.parent, **options)
        last = reversed(workers) if verdict.smallest_input else workers  # the last one ran the smallest input
        yield verdict, next(filter(None, (first_lines(worker.output) for worker in last)), "")


WARNING = re.compile(r"^.*\.py:\d+: RuntimeWarning: .*\n(?:  .*\n)?", re.MULTILINE)  # NumPy's, about numbers
FOLDER = re.compile(r"^.*[/\\](?=[^/\\]+\.py:\d+: \w*Warning: )", re.MULTILINE)  # in a student's own warning


def first_lines(output: bytes | bytearray) -> str:
    """Return the first five lines that a student's code printed, safe to show in a terminal."""
    lines = FOLDER.sub("", WARNING.sub("", bytes(output).decode("utf-8", "replace"))).split("\n")
    return "\n".join(printable(line, 200) for line in lines[:5] if line.strip())


@dataclass(frozen=True)
class CheckOptions:
    """Say how an exercise is checked.

    count: the number of public cases; variant: the seed of hidden cases, 0 for none.
    every: the cases of each property, in place of generated ones; the smallest failing input is one of them.
    explain: False skips the diagnosis.
    known: more mistakes to recognise, as pairs (sentence, function).
    first: called with the exercise and what is wrong, as soon as anything fails.
    clock: starts a timer for the work after the first failure, and returns a function that returns the
        seconds left. By default there is no limit, so that a grader always gives the same answer.
    """

    count: int = CASES_PER_TASK
    variant: int = 0
    every: dict[str, list[tuple]] | None = None
    explain: bool = True
    known: Sequence[tuple] = ()
    first: Callable[[str, str], Any] = lambda task, message: None
    clock: Callable[[], Callable[[], float]] = lambda: lambda: math.inf


def cases(task: Exercise, count: int = CASES_PER_TASK, variant: int = 0) -> dict[str, list[tuple]]:
    """Return the cases of an exercise -> {property: list of argument tuples}; see `CheckOptions`."""
    return properties(task.op, count, variant)


def judge(task: Exercise, start: Callable[[], Any], folder: Path | None = None, **chosen: Any) -> Verdict:
    """Check a student's function for one op, in workers from `start()`. chosen: see `CheckOptions`."""
    options = CheckOptions(**chosen)
    every = options.every or cases(task, options.count, options.variant)
    with specs_only():
        checks = PropertyChecks(task, start, every, options)
        if checks.unusable:
            return unusable(task, checks.unusable, every)
        if not checks.broken:
            return Verdict(task.name, "passed", tuple(checks.held))
        lost = tuple(title for title in every if title not in checks.held)
        verdict = functools.partial(Verdict, task.name, held=tuple(checks.held), broken=lost)
        why, line = checks.failure, getattr(checks.failure, "line", None)
        if unanswered(why):
            return verdict(state=why.state, message=format_failure(why), line=line)
        if not options.explain or checks.left() < 0:
            return verdict(state="failed", message=format_failure(why), line=line)
        answered = {title: wrong for title, wrong in checks.broken.items() if not unanswered(wrong[0][1])}
        try:
            return diagnose(task, start, answered, checks.numbers(), verdict, options)
        except Exception as error:  # a student's results may cause any error
            message = f"{format_failure(why)} (the search for the cause failed: {type(error).__name__})"
            return verdict(state="failed", message=printable(message))


class PropertyChecks:
    """Check the properties of a function one after another, each in a fresh worker.

    held, broken: the properties that hold, and {property: pairs (case, what is wrong)} for the others.
    failure: what went wrong first. unusable: why the file itself does not run, or None.
    """

    def __init__(self, task, start, every, options):
        self.task, self.start, self.every, self.options = task, start, every, options
        self.held: list[str] = []
        self.broken: dict[str, list[tuple]] = {}
        self.stopped: set[int] = set()  # ids of the cases on which no answer came
        self.failure: Any = None
        self.unusable: Failure | None = None
        self.left = options.clock()
        for title, cases in every.items():
            self.try_property(title, cases)
            # Stop if there is no function, if it does not end, or if it is too slow to be tried further.
            if self.unusable or self.stopped or (self.broken and self.left() < 0):
                break

    def try_property(self, title: str, cases: list[tuple]) -> None:
        """Check one property, and store what is wrong. After the first failure, stop when the time is up."""
        wrong, told = [], bool(self.broken)
        if not told:
            self.left = self.options.clock()  # the time counts from the first failure
        with self.start() as worker:
            self.unusable = worker.failure  # the file failed before any input
            for args in () if worker.failure else cases:
                if told and self.left() < 0:
                    break
                if not (why := complaint(self.task.op, title, worker, self.task.name, args)):
                    continue
                if not told and not unanswered(why):
                    self.options.first(self.task.name, format_failure(why))
                    told = True
                # A complaint may quote a worker's text, which may have control characters.
                wrong.append((args, why if isinstance(why, Failure) else printable(why)))
        if not wrong:
            self.held += [] if self.unusable else [title]
            return
        self.broken[title] = [pair for pair in wrong if not unanswered(pair[1])] or wrong
        self.failure = self.failure or wrong[0][1]
        self.stopped |= {id(args) for args, why in wrong if unanswered(why)}

    def numbers(self) -> list[tuple]:
        """Return all cases on which the numbers of the results were checked."""
        tried = [title for title in (*self.held, *self.broken) if title.startswith(RIGHT)]
        return [args for title in tried for args in self.every[title] if id(args) not in self.stopped]


def unanswered(why: Failure | str) -> bool:
    """Return True if a function is missing, was blocked or ran too long: then it is not called again."""
    return isinstance(why, Failure) and why.state != "failed"


def unusable(task: Exercise, failure: Failure, every: Sequence[str] | dict[str, Any]) -> Verdict:
    """Return the verdict for a file that cannot be imported: no property holds."""
    state = "blocked" if failure.state == "failed" else failure.state
    message = format_failure(failure)
    return Verdict(task.name, state, broken=tuple(every), message=message, line=failure.line, runs=False)
