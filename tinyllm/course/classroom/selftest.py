"""Test the grader: it must accept right answers and reject wrong ones.

The reference solution, the untouched starter and every answer that is a file (C, property tests, the
capstone) run in a worker. An op's mutants (known mistakes) and variants (other right ways to write it) are
functions of the library. They run in this process, but their values are sent through the same protocol.
"""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tinyllm.course import protocol
from tinyllm.course.answer_keys import answers
from tinyllm.course.checker import Verdict, judge, judge_task
from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.grading import CONTEXT, INTERRUPTS, end_quietly
from tinyllm.course.kernels import NONE, find_compiler
from tinyllm.course.own_tasks import load_lesson
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
    rows = []
    longest_first = sorted(tasks, key=lambda pair: pair[1].kind == "op")
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)  # until `end_quietly`
    pool = ProcessPoolExecutor(os.cpu_count() or 1, CONTEXT, end_quietly)
    tried = {task: pool.submit(try_task, lesson, task, level) for lesson, task in longest_first}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
    try:
        for _, task in tasks:
            rows.append(tried[task].result())
            step(rows[-1])
        pool.shutdown()  # a process that is stopped while it reads may leave half a message to the next
    finally:  # also after Ctrl-C
        pool.shutdown(wait=False, cancel_futures=True)
        while processes := multiprocessing.active_children():  # each may have begun one more exercise
            for process in processes:
                process.terminate()
                process.join(1)
    return rows


def try_task(lesson: Lesson, task: Exercise, level: str) -> Row:
    """Test the grader on one exercise. Raises UserError for C without a compiler, and for a bad stub."""
    if task.kind == "c" and not find_compiler():
        raise UserError(f"lesson {lesson.number}: {NONE}; a course.toml can leave it out")
    if lesson.home:  # a new process, unless it was forked, has not loaded it
        load_lesson(lesson.home)
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

        starter = of_text(lesson.stub) if lesson.stub else of_file(lesson.path)
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
