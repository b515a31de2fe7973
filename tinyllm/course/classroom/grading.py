"""Grade submissions: each in a process of its own, so that a crash loses one record only.

A record is a dict of plain values that depends only on the submission, the course and the library: code has a
limit of processor time, where the system counts it (see `workers`), and searches have a limit of steps. A
much longer limit by the clock holds for the whole submission: exercises that were judged before it keep their
verdicts, and the others are timed out.
"""

import contextlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyllm.course import capstone
from tinyllm.course.checker import Verdict, as_record, judge_lesson, judge_task, titles_of
from tinyllm.course.classroom.collect import Submission, load
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.drawing import properties
from tinyllm.course.failures import right
from tinyllm.course.own_tasks import LOADED, load_lesson
from tinyllm.course.workers import Launcher
from tinyllm.testing.relations import specs_only

CONTEXT: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
INTERRUPTS = signal.SIGINT, signal.SIGTERM
SECONDS = 4 * 3600  # by the clock, after which a grading process is killed
CLOCK_SECONDS = 3600  # the limit by the clock for one submission


def grade_all(submissions: list[Submission], course: Course, level: str, workers: int | None = None,
              step: Callable[[], Any] = lambda: None, stopped: Callable[[], bool] = lambda: False
              ) -> list[dict[str, Any]]:
    """Grade submissions, and return their records in any order; call step() whenever one is done.

    workers, stopped: see `in_processes`.
    """
    records = []

    def done(job, record):
        lost = "its grading process ended, by a crash or after four hours; grade again"
        records.append(record or new_record(job[0].student, course, level, lost))
        step()

    prepare(course, {course.variant(submission.student) for submission in submissions}, stopped)
    in_processes(grade, [(submission, course, level) for submission in submissions], done, workers, stopped)
    return records


def in_processes(function: Callable[..., Any], jobs: list[tuple], done: Callable[[tuple, Any], Any],
                 workers: int | None = None, stopped: Callable[[], bool] = lambda: False) -> None:
    """Call function(*job) for each job, each in another process, at most `workers` at once.

    done: called with a job and its result, which was sent as JSON, or None if the process was killed.
    stopped: returns True after an interrupt, such as Ctrl-C; then KeyboardInterrupt is raised here. A signal
        handler must not raise it: Python ignores exceptions during some callbacks.

    If a process is killed, its workers end too, because their server exits when the socket closes.
    """
    waiting, running = list(reversed(jobs)), dict[Any, Any]()
    try:
        while waiting or running:
            if stopped():
                raise KeyboardInterrupt("interrupted; nothing was written")
            while waiting and len(running) < (workers or os.cpu_count() or 1):
                job = waiting.pop()
                ours, theirs = CONTEXT.Pipe(duplex=False)
                process = CONTEXT.Process(target=run_one, args=(theirs, [*LOADED], function, job))
                signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)  # until `end_quietly`
                process.start()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
                theirs.close()  # so that `ours` ends when the process does
                running[ours] = process, job
            for pipe in multiprocessing.connection.wait(list(running), timeout=1):
                process, job = running.pop(pipe)
                found = receive(pipe)
                process.join()
                done(job, found)
    finally:
        for process, _ in running.values():
            process.terminate()  # so that it removes its temporary folders
        for process, _ in running.values():
            process.join(10)
            process.kill()
            process.join()


def run_one(pipe: Any, own: list[str], function: Callable[..., Any], job: tuple) -> None:
    """Send function(*job) as JSON. A process of `in_processes` runs only this function."""
    end_quietly()
    signal.alarm(SECONDS)
    for home in own:  # instructors' lessons; a new process, unless it was forked, has not loaded them
        load_lesson(home)
    pipe.send_bytes(json.dumps(function(*job)).encode())


def end_quietly() -> None:
    """Let SIGTERM end this process without a traceback; the process that started it handles Ctrl-C."""
    def end(number: int, frame: Any) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Python prints exceptions that callbacks raise
        sys.exit(1)  # so that temporary folders are removed

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


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
            _ = capstone.reference(variant).allowed
        if task.kind == "op":
            with specs_only():
                for args in itertools.chain(*properties(task.op, variant=variant).values()):
                    if not stopped():
                        right(task.op, args)


def grade(submission: Submission, course: Course, level: str) -> dict[str, Any]:
    """Grade a submission, and return a record: a dict of plain values."""
    submission = load(submission, course.lessons)
    if submission.problem:
        return new_record(submission.student, course, level, submission.problem)
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder, Launcher(level) as launcher:
        end = time.monotonic() + CLOCK_SECONDS
        verdicts = [grade_lesson(submission, course, part, launcher, Path(folder), end)
                    for part in course.parts]
    return new_record(submission.student, course, level, "", verdicts)


def new_record(student: str, course: Course, level: str, problem: str,
               verdicts: list[list[Verdict]] | None = None) -> dict[str, Any]:
    """Return the record of a student from the verdicts, a list for each lesson; without them for a `problem`.

    `students.merge` fills in the sums of the points, and what the instructor's table says.
    """
    verdicts = verdicts or [[Verdict(name, "not_graded") for name in part.points] for part in course.parts]
    lessons = [{"lesson": part.lesson.number, "tasks": [scored(part, verdict) for verdict in found]}
               for part, found in zip(course.parts, verdicts, strict=True)]
    return {"student": student, "problem": problem, "isolation": level, "lessons": lessons,
            "points": None, "of": course.total, "roster": {}, "remark": ""}


def grade_lesson(submission: Submission, course: Course, part: Part, launcher: Launcher, folder: Path,
                 end: float) -> list[Verdict]:
    """Judge the exercises of a lesson. None is begun after the time `end`, given by the monotonic clock."""
    here = folder / part.lesson.folder
    here.mkdir()
    for (name, file), data in submission.files.items():
        if name == part.lesson.folder:
            (here / file).write_bytes(data)

    def judge(task, start, folder):  # if the judge itself fails, the other exercises are still judged
        if time.monotonic() > end:
            text = "it and the exercises before it used up the time for a whole submission"
            return Verdict(task.name, "timed_out", broken=titles_of(task), message=text)
        try:
            return judge_task(task, start, folder, variant=course.variant(submission.student),
                              clock=lambda: lambda: end - time.monotonic())
        except Exception as error:
            text = f"it could not be judged ({type(error).__name__}); tell your instructor"
            return Verdict(task.name, "not_graded", message=text)

    tasks = [part.lesson.task(name) for name in part.points]
    there = [task for task in tasks if (here / task.about.file).is_file()]
    found = {each.task: each for each, _ in judge_lesson(there, launcher, here / "exercise.py", judge=judge)}
    why = submission.near.get(part.lesson.folder, f"{part.lesson.exercise} is missing")
    return [found.get(task.name, Verdict(task.name, "not_graded", message=why)) for task in tasks]


def scored(part: Part, verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as a record with its points; `checked` stays if an instructor sets others."""
    of = part.points[verdict.task]
    points = None if verdict.state == "not_graded" else of if verdict.state == "passed" else 0
    return as_record(part.lesson, verdict) | {"points": points, "of": of, "checked": points, "comment": ""}
