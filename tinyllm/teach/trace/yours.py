"""A student's functions in the model: each op of a lesson is run by their exercise, in a worker process."""

from contextlib import ExitStack, contextmanager

from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS, override
from tinyllm.teach.syllabus import find_lesson, ready
from tinyllm.teach.workers import Failure, Zygote, best_level
from tinyllm.teach.workspace import exercise_path, find_workspace, shown

SECONDS = 60  # for one call: some ops are slow when they are written plainly


@contextmanager
def plugged_in(lessons):
    """Plug in what a student wrote in some lessons -> the names of the ops that are theirs now.

    A function that is still a stub is left out. Raises UserError when there is no exercise, when it plugs
    in nothing, or, while the model runs, when a function of theirs fails.
    """
    workspace = find_workspace()
    with ExitStack() as stack:
        zygote = stack.enter_context(Zygote(best_level()))
        mine = {}
        for number in lessons:
            lesson = find_lesson(number)
            path = exercise_path(lesson, workspace)
            worker = stack.enter_context(zygote.start(path))
            if worker.failure:
                raise UserError(f"{shown(path)} does not run: {_said(worker.failure)}")
            for task in lesson.tasks:
                if task.kind == "op" and ready(task) and _attempted(worker, task):
                    mine[task.op] = _proxy(worker, task, path)
        if not mine:
            raise UserError(f"nothing is written yet in lesson {', '.join(lessons)}: fill in a stub first")
        stack.enter_context(override(**mine))
        yield list(mine)


def _attempted(worker, task):
    """Whether a function is more than a stub: called without arguments a stub would raise TypeError too."""
    arguments = [None] * len(OPS[task.op].__signature__.parameters)
    answer = worker.call(task.name, arguments, SECONDS)
    return not (isinstance(answer, Failure) and answer.state == "not_attempted")


def _proxy(worker, task, path):
    """A function with the op's signature that the student's worker runs."""
    signature = OPS[task.op].__signature__

    def yours(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        answer = worker.call(task.name, list(bound.arguments.values()), SECONDS)
        if isinstance(answer, Failure):
            raise UserError(f"your {task.name} in {shown(path)} gives no result: {_said(answer)}")
        return answer

    yours.__signature__ = signature  # type: ignore[attr-defined]  # `override` compares it with the op's
    yours.__name__ = task.name
    return yours


def _said(failure):
    return failure.message + (f" (line {failure.line})" if failure.line else "")
