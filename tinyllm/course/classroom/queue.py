"""Grade many submissions at once, each in a process of its own, so that a crash loses one record only."""

import contextlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tinyllm.course import capstone
from tinyllm.course.classroom.collect import Submission, load
from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.grading import empty_record, grade
from tinyllm.course.drawing import properties
from tinyllm.course.failures import right
from tinyllm.course.own_tasks import load_lesson
from tinyllm.testing.relations import specs_only

CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
SECONDS = 4 * 3600  # by the clock, after which a grading process is killed: see `grading`
LOST = "its grading process ended, by a crash or after four hours; grade again"
STOPPED = "interrupted; nothing was written"


def grade_all(submissions: list[Submission], course: Course, level: str, workers: int | None = None,
              step: Callable[[], Any] = lambda: None, stopped: Callable[[], bool] = lambda: False
              ) -> list[dict[str, Any]]:
    """Grade submissions in `workers` processes at a time, and return their records in any order.

    step: called whenever a submission is done.
    stopped: returns True after an interrupt, such as Ctrl-C; then KeyboardInterrupt is raised here. One that
        is raised in a callback, such as the garbage collector's, would be printed and forgotten.

    If a process is killed, its workers end too, because their server exits when the socket closes.
    """
    waiting, running, records = list(reversed(submissions)), dict[Any, Any](), []
    prepare(course, {course.variant(submission.student) for submission in submissions}, stopped)
    try:
        while waiting or running:
            if stopped():
                raise KeyboardInterrupt(STOPPED)
            while waiting and len(running) < (workers or os.cpu_count() or 1):
                submission = waiting.pop()
                ours, theirs = CONTEXT.Pipe(duplex=False)
                process = CONTEXT.Process(target=run_one, args=(theirs, submission, course, level))
                process.start()
                theirs.close()  # so that `ours` ends when the process does
                running[ours] = process, submission
            for pipe in multiprocessing.connection.wait(list(running), timeout=1):
                process, submission = running.pop(pipe)
                records.append(receive(pipe) or empty_record(submission.student, course, level, LOST))
                process.join()
                step()
    finally:
        for process, _ in running.values():
            process.terminate()  # so that it removes its temporary folders
        for process, _ in running.values():
            process.join(10)
            process.kill()
            process.join()
    return records


def run_one(pipe: Any, submission: Submission, course: Course, level: str) -> None:
    """Grade one submission, and send its record as JSON. A grading process runs only this function."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides what an interrupt means
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    if hasattr(signal, "alarm"):
        signal.alarm(SECONDS)
    for lesson in course.lessons:
        if lesson.home:  # a new process, unless it was forked, has not loaded it
            load_lesson(lesson.home)
    record = grade(load(submission, course.lessons), course, level)
    pipe.send_bytes(json.dumps(record).encode())


def receive(pipe: Any) -> Any:
    """Read a record from a grading process; return None if the process ended without sending one."""
    with contextlib.closing(pipe), contextlib.suppress(EOFError, OSError):
        return json.loads(pipe.recv_bytes())
    return None


def prepare(course: Course, variants: set[int], stopped: Callable[[], bool]) -> None:
    """Generate all cases and right results now, so that processes forked later share them."""
    if CONTEXT.get_start_method() != "fork":
        return
    tasks = [part.lesson.task(name) for part in course.parts for name in part.points]
    for task, variant in itertools.product(tasks, sorted(variants)):
        if stopped():
            return
        if task.kind == "run":
            capstone.tolerance(variant)
        if task.kind == "op":
            with specs_only():
                for args in itertools.chain(*properties(task.op, variant=variant).values()):
                    if not stopped():
                        right(task.op, args)
