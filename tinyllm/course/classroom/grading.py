"""Grade one submission: each task by its judge, in workers, and the points that follow.

The result is a plain record, and it depends on the submission, the course and the library only: deadlines are
in processor time where the system counts it (`workers` says how), and what is looked into is bounded by
counts, not by clocks. So is the whole: when a submission's workers have used up what it may take, the tasks
that were judged keep their verdicts and the rest are timed out. By the clock it may take far longer; only
what uses no processor, and is too restless to be found asleep, comes so far.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyllm.course.checker import JUDGES, Verdict, judge_task, unusable
from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.drawing import properties
from tinyllm.course.record import as_record
from tinyllm.course.syllabus import Task, ready
from tinyllm.course.workers import Failure, Launcher
from tinyllm.course.workspace import lay_out, read_progress
from tinyllm.testing.properties import ORDINARY, ORDINARY_INPUT, RIGHT

UNJUDGED = "it could not be judged"  # begins the message of a task where the judging itself went wrong
CPU_SECONDS = 1200  # of processor time, for the workers of one submission; a task begun is judged to its end
CLOCK_SECONDS = 7200  # and by the clock
USED_UP = "the tasks before it used up the time for a whole submission"


def grade(submission: Submission, course: Course, level: str) -> dict[str, Any]:
    """Grade everything that a submission holds -> record, a dict of plain values."""
    record: dict[str, Any] = {"student": submission.student, "problem": submission.problem}
    record |= {"isolation": level, "lessons": []}
    solutions = read_progress(submission.progress) or {}
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder, Launcher(level) as launcher:
        end = time.monotonic() + CLOCK_SECONDS
        for part in course.parts:
            tasks = grade_lesson(submission, course, part, launcher, Path(folder), end)
            for task in tasks:
                key = f"{part.lesson.number}/{task['task']}"
                task["solution_seen"] = bool(solutions.get(key, {}).get("solution"))
            record["lessons"].append({"lesson": part.lesson.number, "tasks": tasks})
    earned = [task["points"] for lesson in record["lessons"] for task in lesson["tasks"]]
    return record | {"points": round(sum(earned), 6), "of": course.total}


def empty_record(submission: Submission, course: Course, level: str, problem: str) -> dict[str, Any]:
    """Return the record of a submission of which nothing could be graded."""
    record: dict[str, Any] = {"student": submission.student, "problem": problem}
    record |= {"isolation": level, "lessons": []}
    for part in course.parts:
        tasks = [_scored(part, Verdict(name, "not_attempted"), course) for name in part.points]
        record["lessons"].append({"lesson": part.lesson.number, "tasks": tasks})
    return record | {"points": 0, "of": course.total}


def grade_lesson(submission: Submission, course: Course, part: Part, launcher: Launcher, folder: Path,
                 end: float) -> list[dict[str, Any]]:
    """Grade one lesson's tasks -> list of records. end: when no further task is begun, in monotonic time."""
    lesson = part.lesson
    here = folder / lesson.folder
    here.mkdir()
    files = submission.files.items()
    code = lay_out({file: data for (name, file), data in files if name == lesson.folder}, here)

    def start():
        return launcher.start(code)

    verdicts = []
    failure = broken_file(start) if code.is_file() else None
    for name in part.points:
        task = lesson.task(name)
        if not ready(task) or task.kind not in JUDGES:
            continue
        if launcher.cpu > CPU_SECONDS or time.monotonic() > end:
            verdict = Verdict(name, "timed_out", broken=_titles(task), message=USED_UP)
        elif failure and task.kind == "op":
            verdict = unusable(task, failure, _titles(task))
        elif not code.is_file() and task.kind != "c":  # what is written in C is in a file of its own
            verdict = Verdict(name, "not_attempted", broken=_titles(task), message="exercise.py is missing")
        else:
            verdict = judge_safely(task, start, here, course.variant(submission.student))
        verdicts.append(verdict)
    return [_scored(part, verdict, course) for verdict in verdicts]


def _titles(task):
    return tuple(properties(task.op)) if task.kind == "op" else ()


def judge_safely(task: Task, start: Callable[[], Any], folder: Path, variant: int) -> Verdict:
    """Judge one task; an error of the judge itself becomes a verdict, so that the other tasks go on."""
    try:
        return judge_task(task, start, folder, variant=variant, effort=0)
    except Exception as error:
        text = f"{UNJUDGED} ({type(error).__name__}); tell your instructor"
        return Verdict(task.name, "blocked", message=text)


def broken_file(start: Callable[[], Any]) -> Failure | None:
    """Run a file once, before its tasks -> the Failure if it cannot run, or None."""
    with start() as worker:
        return worker.failure


def _scored(part, verdict, course):
    """Return a verdict as a record with its points."""
    of = part.points[verdict.task]
    share = 1.0 if verdict.state == "passed" else 0.0
    if course.partial and verdict.state == "failed":
        right = [title for title in (*verdict.held, *verdict.broken) if title.startswith(RIGHT)]
        kept = [title for title in verdict.held if title.startswith(RIGHT)]
        lost = not right or ORDINARY in verdict.broken or ORDINARY_INPUT in verdict.broken
        share = 0.0 if lost else len(kept) / len(right)
    points = round(of * share, 6)
    return as_record(part.lesson, verdict) | {"points": points, "of": of}
