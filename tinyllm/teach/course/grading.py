"""Grade one submission: each task by its judge, in workers, and the points that follow.

The result is a plain record, and it depends on the submission, the course and the library only: deadlines are
in processor time where the system counts it, and what is looked into is bounded by counts, not by clocks.
"""

import tempfile
from pathlib import Path

from tinyllm.teach.checker import JUDGES, Verdict, judge_task, unusable
from tinyllm.teach.drawing import properties
from tinyllm.teach.record import as_record
from tinyllm.teach.syllabus import ready
from tinyllm.teach.workers import Zygote
from tinyllm.teach.workspace import read_progress
from tinyllm.testing.properties import ORDINARY, ORDINARY_INPUT, RIGHT

LIMITS = {"cpu_seconds": 20, "call_seconds": 30, "total_seconds": 300}  # for one worker: one property
UNJUDGED = "it could not be judged"  # begins the message of a task where the judging itself went wrong
START_SECONDS = 60  # by the clock, for a file's own import; the processor time above ends it sooner


def grade(submission, course, level):
    """Grade everything that a submission holds -> record, a dict of plain values."""
    record = {"student": submission.student, "problem": submission.problem, "isolation": level, "lessons": []}
    solutions = read_progress(submission.progress) or {}
    with tempfile.TemporaryDirectory(prefix="tinyllm-") as folder, Zygote(level) as zygote:
        for part in course.parts:
            tasks = grade_lesson(submission, course, part, zygote, Path(folder))
            for task in tasks:
                key = f"{part.lesson.number}/{task['task']}"
                task["solution_seen"] = bool(solutions.get(key, {}).get("solution"))
            record["lessons"].append({"lesson": part.lesson.number, "tasks": tasks})
    earned = [task["points"] for lesson in record["lessons"] for task in lesson["tasks"]]
    return record | {"points": round(sum(earned), 6), "of": course.total}


def nothing(submission, course, level, problem):
    """The record of a submission of which nothing could be graded."""
    record = {"student": submission.student, "problem": problem, "isolation": level, "lessons": []}
    for part in course.parts:
        tasks = [_scored(part, Verdict(name, "not_attempted"), course) for name in part.points]
        record["lessons"].append({"lesson": part.lesson.number, "tasks": tasks})
    return record | {"points": 0, "of": course.total}


def grade_lesson(submission, course, part, zygote, folder):
    """Grade one lesson's tasks -> list of records."""
    lesson = part.lesson
    here = folder / lesson.folder
    here.mkdir()
    for (name, file), data in submission.files.items():
        if name == lesson.folder:
            (here / file).write_bytes(data)
    code = here / "exercise.py"

    def start():
        return zygote.start(code, LIMITS, START_SECONDS)

    verdicts = []
    failure = broken_file(start) if code.is_file() else None
    for name in part.points:
        task = lesson.task(name)
        if not ready(task) or task.kind not in JUDGES:
            continue
        if failure and task.kind == "op":
            verdict = unusable(task, failure, _titles(task))
        elif not code.is_file() and task.kind != "c":  # what is written in C is in a file of its own
            titles = _titles(task) if task.kind == "op" else ()
            verdict = Verdict(name, "not_attempted", broken=titles, message="exercise.py is missing")
        else:
            verdict = safely(task, start, here, course.variant(submission.student))
        verdicts.append(verdict)
    return [_scored(part, verdict, course) for verdict in verdicts]


def _titles(task):
    return tuple(properties(task.op))


def safely(task, start, folder, variant):
    """Judge one task; whatever goes wrong in the judging itself is said, and takes nothing else along."""
    try:
        return judge_task(task, start, folder, variant=variant, effort=0)
    except Exception as error:
        text = f"{UNJUDGED} ({type(error).__name__}); tell your instructor"
        return Verdict(task.name, "blocked", message=text)


def broken_file(start):
    """Why a file cannot be run at all -> Failure, or None; asked once and not for every task."""
    with start() as worker:
        return worker.failure


def _scored(part, verdict, course):
    """A verdict as a record with its points."""
    of = part.points[verdict.task]
    share = 1.0 if verdict.state == "passed" else 0.0
    if course.partial and verdict.state == "failed":
        right = [title for title in (*verdict.held, *verdict.broken) if title.startswith(RIGHT)]
        kept = [title for title in verdict.held if title.startswith(RIGHT)]
        lost = not right or ORDINARY in verdict.broken or ORDINARY_INPUT in verdict.broken
        share = 0.0 if lost else len(kept) / len(right)
    points = round(of * share, 6)
    return as_record(part.lesson, verdict) | {"points": points, "of": of}
