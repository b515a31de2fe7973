"""Test the grader: it must accept right answers and reject wrong ones.

The reference solution, the untouched starter and every answer that is a file (C, property tests, the
capstone) run in a worker. An op's mutants (known mistakes) and variants (other right ways to write it) are
functions of the library. They run in this process, but their values are sent through the same protocol.
"""

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinyllm.course import protocol
from tinyllm.course.answer_keys import answers
from tinyllm.course.checker import Verdict, judge, judge_task
from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.grading import in_processes
from tinyllm.course.kernels import NONE, find_compiler
from tinyllm.course.syllabus import Exercise, Lesson
from tinyllm.course.workers import Failure, Launcher
from tinyllm.errors import UserError


class Row(NamedTuple):
    """The results of the self-test for one exercise, with a line for every answer that was judged wrongly."""

    lesson: int
    task: str
    reference: float  # the share of properties that hold
    starter: float
    killed: int  # mutants that the intended property rejected
    mutants: int
    accepted: int  # variants that were accepted
    variants: int
    wrong: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Return True if every answer was judged as intended."""
        return self.reference == 1 and self.starter == 0 and self.mutants > 0 and not self.wrong


class Here(contextlib.nullcontext):
    """A substitute for a Worker that runs a trusted function of the library in this process."""

    def __init__(self, name, function):
        super().__init__(self)
        self.name, self.function, self.failure = name, function, None

    def call(self, name: str, args: Sequence[Any], send_args: bool = False, names: Sequence[str] = ()) -> Any:
        """Call the function with copies of the arguments."""
        args = protocol.copy(list(args))
        try:
            value = self.function(**dict(zip(names, args, strict=True))) if names else self.function(*args)
            return protocol.copy((value, args) if send_args else value)
        except Exception as error:
            return Failure("failed", f"{type(error).__name__}: {error}")


def run_selftest(course: Course, level: str, step: Callable[[Row], Any] = lambda row: None) -> list[Row]:
    """Test the grader on all exercises of a course, several at once; call step(row) in their order."""
    tasks = [(part.lesson, part.lesson.task(name)) for part in course.parts for name in part.points]
    found: dict[Exercise, Row] = {}
    rows: list[Row] = []

    def done(job, result):
        if not isinstance(result, list):
            raise UserError(result or f"the process that tried {job[1].name} ended, perhaps by a crash")
        found[job[1]] = Row(*result)
        while len(rows) < len(tasks) and (row := found.get(tasks[len(rows)][1])):
            rows.append(row)
            step(row)

    longest_first = sorted(tasks, key=lambda pair: pair[1].kind == "op")
    in_processes(row_or_error, [(*pair, level) for pair in longest_first], done)
    return rows


def row_or_error(lesson: Lesson, task: Exercise, level: str) -> Row | str:
    """Return the row of `try_task`, or the message of its UserError."""
    try:
        return try_task(lesson, task, level)
    except UserError as error:
        return str(error)


def try_task(lesson: Lesson, task: Exercise, level: str) -> Row:
    """Test the grader on one exercise. Raises UserError for C without a compiler, and for a bad stub."""
    if task.kind == "c" and not find_compiler():
        raise UserError(f"lesson {lesson.number}: {NONE}; a course.toml can leave it out")
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder, Launcher(level) as launcher:

        def of_file(place):
            code, limits = place / "exercise.py", {"cpu_seconds": task.about.cpu_seconds}
            return judge_task(task, lambda: launcher.start(code, limits), place, explain=False)

        def of_text(text):
            place = Path(tempfile.mkdtemp(dir=folder))
            for name, content in (("exercise.py", ""), (task.about.file, text)):
                (place / name).write_text(content, "utf-8")
            return of_file(place)

        def of_answer(answer):
            if not answer.function:
                return of_text(answer.text)
            with contextlib.redirect_stdout(None), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return judge(task, lambda: Here(task.name, answer.function), explain=False)

        starter = of_file(lesson.path) if task.kind == "c" else of_text(lesson.starter)
        if lesson.stub and starter.state != "not_attempted":
            raise UserError(f"the stub of {task.name} does not run: {starter.message}")
        known = answers(task)
        reference = of_text(known.reference)
        survive = [f"SURVIVES: {x.sentence}" for x in known.wrong if not rejected(of_answer(x), x.breaks)]
        right = [(x.sentence, of_answer(x)) for x in known.right]
    refused = [f"TURNED DOWN: {name}, by: {verdict.message or verdict.broken[0]}"
               for name, verdict in right if verdict.state != "passed"]
    return Row(lesson.number, task.name, share(reference), share(starter),
               len(known.wrong) - len(survive), len(known.wrong), len(right) - len(refused), len(right),
               (*survive, *refused))


def share(verdict: Verdict) -> float:
    """Return the share of a verdict's properties that hold, from 0 to 1."""
    return len(verdict.held) / max(len(verdict.held) + len(verdict.broken), 1)


def rejected(verdict: Verdict, breaks: str) -> bool:
    """Return True if a property or message that contains `breaks` rejects an answer."""
    return verdict.state != "passed" and any(breaks in why for why in (*verdict.broken, verdict.message))
