"""Judge functions of ours in place of a student's, for tests."""

import contextlib
import os

from tinyllm.course.checker import judge
from tinyllm.course.classroom.selftest import Here
from tinyllm.course.syllabus import syllabus
from tinyllm.course.workers import Failure

TASKS = {task.op: task for lesson in syllabus() for task in lesson.tasks if task.kind == "op"}


class Ours(Here):
    """Stand for a student's function, whose variables are not recorded."""

    def steps(self, *args):
        return Failure("failed", "no steps")


def wrong_as(op, function):
    """Return the verdict on a function of ours."""
    return judge(TASKS[op], lambda: Ours(op, function))


def descendants():
    """Return the ids of all descendants of this process; [] without Linux's /proc."""
    family = [os.getpid()]
    for pid in family:  # which grows
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as f:
                    family += map(int, f.read().split())
    return family[1:]
