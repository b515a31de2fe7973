"""Judge functions of a test as if they were a student's."""

import contextlib
import os

from tinyllm.course.checker import judge
from tinyllm.course.classroom.selftest import Here
from tinyllm.course.syllabus import syllabus
from tinyllm.course.workers import Failure

TASKS = {task.op: task for lesson in syllabus() for task in lesson.tasks if task.kind == "op"}


class Ours(Here):
    """A substitute for a worker that runs a function of a test, and does not record its variables."""

    def steps(self, *args):
        return Failure("failed", "no steps")


def wrong_as(op, function):
    """Return the verdict on a function of a test."""
    return judge(TASKS[op], lambda: Ours(op, function))


def descendants():
    """Return the ids of all descendants of this process; [] without Linux's /proc."""
    family = [os.getpid()]
    for pid in family:  # the list grows in the loop
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as f:
                    family += map(int, f.read().split())
    return family[1:]
