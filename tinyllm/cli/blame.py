"""Implement `tinyllm blame`, which finds the student's function that breaks a run of `train --mine`."""

from collections.abc import Iterator
from contextlib import suppress

from tqdm import tqdm

from tinyllm.cli.command import command
from tinyllm.course.blame import Blame, Finding
from tinyllm.course.plugins import load_parts
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.training import replaced_ops
from tinyllm.course.workspace import find_workspace
from tinyllm.errors import UserError
from tinyllm.report.terminal import paragraph
from tinyllm.runs import Run, list_runs, reopen


@command("blame")
def blame(run: str | None = None) -> int:
    """Find out which of your functions breaks a run of `train --mine`.

    The first steps are trained again with fewer and fewer of your functions.
    The exit code is 1 if one of them is to blame.

    RUN  a run; the newest in runs/ if not given

    example:
      tinyllm train --mine 4,5,6 --steps 50
      tinyllm blame                          the newest run with functions of yours
      tinyllm blame runs/stories-laptop-mine
    """
    found = Run(run) if run else newest()
    config = found.read().config
    recorded = replaced_ops(found)
    if not recorded:
        raise UserError(f"{found.folder} was trained by the library alone; see `tinyllm train --mine N`")
    lessons = list(map(find_lesson, dict.fromkeys(recorded.values())))
    parts = [part for part in load_parts(lessons, find_workspace())[0] if part.op in recorded]
    if not parts:
        raise UserError(f"the functions that {found.folder} was trained with are no longer in your exercises")
    with tqdm(unit=" steps", leave=False, disable=None) as bar:
        trials = Blame(reopen(found, config), {part.op: part for part in parts}, tick=bar.update)
        finding = trials.find()
    print("\n".join(map(paragraph, format_finding(trials, finding))))
    return 1 if finding.culprits else 0


def newest() -> Run:
    """Return the newest run in runs/ that used a student's functions. Raises UserError if there is none."""
    for run in list_runs():
        with suppress(UserError):
            if replaced_ops(run):
                return run
    raise UserError("there is no run of `tinyllm train --mine` in runs/; give its folder")


def format_finding(blame: Blame, finding: Finding) -> Iterator[str]:
    """Yield lines that say which functions are to blame."""
    yield f"the library's own functions reach a loss of {blame.right[-1, 0]:.4f} after {blame.steps} steps"
    if not finding.what:
        lessons = dict.fromkeys(part.lesson for part in blame.parts.values())
        ways = ", ".join(f"`tinyllm check {number}`" for number in lessons)
        yield f"yours stay within {blame.allowed[:, 0].max():.4f} of it at every step: nothing to blame"
        yield f"what a training does not feel, {ways} may: there each function is tried by itself"
        return
    yield f"yours {finding.what}"
    if finding.together:
        yield f"no single function does it, only together: {', '.join(finding.culprits)}"
    for op in finding.culprits:
        part = blame.parts[op]
        yield f"to blame: {part.title()}"
        yield f"  `tinyllm check {part.lesson}` says what is wrong with it"
