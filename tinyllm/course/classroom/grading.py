"""Grade one submission: judge each exercise in workers, and compute the points.

The result is a plain record that depends only on the submission, the course and the library: code has a limit
of processor time, where the system counts it (see `workers`), and searches have a limit of steps. A much
longer limit by the clock holds for the whole submission: exercises that were judged before it keep their
verdicts, and the others are timed out.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from tinyllm.course.checker import Verdict, as_record, judge_lesson, judge_task, titles_of
from tinyllm.course.classroom.collect import Submission
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.workers import Launcher

MISSING = "nothing was handed in"  # the problem of somebody whom only the roster names
UNJUDGED = "it could not be judged"  # the beginning of the message if the judge itself failed
CLOCK_SECONDS = 3600  # the limit by the clock for one submission
USED_UP = "it and the exercises before it used up the time for a whole submission"


def grade(submission: Submission, course: Course, level: str) -> dict[str, Any]:
    """Grade a submission, and return a record: a dict of plain values."""
    if submission.problem:
        return empty_record(submission.student, course, level, submission.problem)
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder, Launcher(level) as launcher:
        end = time.monotonic() + CLOCK_SECONDS
        verdicts = [grade_lesson(submission, course, part, launcher, Path(folder), end)
                    for part in course.parts]
    return as_grades(submission.student, course, level, "", verdicts)


def empty_record(student: str, course: Course, level: str, problem: str) -> dict[str, Any]:
    """Return the record of a student whose submission could not be graded."""
    verdicts = [[Verdict(name, "not_attempted") for name in part.points] for part in course.parts]
    return as_grades(student, course, level, problem, verdicts)


def as_grades(student: str, course: Course, level: str, problem: str,
              verdicts: list[list[Verdict]]) -> dict[str, Any]:
    """Return the record of a submission from its verdicts, a list for each lesson of the course.

    `students.merge` fills in what the instructor's table says.
    """
    lessons, points = [], 0
    for part, found in zip(course.parts, verdicts, strict=True):
        tasks = [scored(part, verdict) for verdict in found]
        lessons.append({"lesson": part.lesson.number, "tasks": tasks, "late_days": None, "deducted": 0})
        points += sum(task["points"] for task in tasks)
    return {"student": student, "problem": problem, "isolation": level, "lessons": lessons,
            "points": round(points, 6), "of": course.total, "roster": {}, "remark": ""}


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
            return Verdict(task.name, "timed_out", broken=titles_of(task), message=USED_UP)
        try:
            return judge_task(task, start, folder, variant=course.variant(submission.student),
                              clock=lambda: lambda: end - time.monotonic())
        except Exception as error:
            text = f"{UNJUDGED} ({type(error).__name__}); tell your instructor"
            return Verdict(task.name, "blocked", message=text)

    tasks = map(part.lesson.task, part.points)
    return [verdict for verdict, _ in judge_lesson(tasks, launcher, here / "exercise.py", judge=judge)]


def scored(part: Part, verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as a record with its points: all, or none.

    `checked` are the points of the check, which stay when an instructor sets other `points`.
    """
    of = part.points[verdict.task]
    points = of if verdict.state == "passed" else 0
    return as_record(part.lesson, verdict) | {"points": points, "of": of, "checked": points, "comment": ""}
