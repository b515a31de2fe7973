"""Write the verdicts of a check for a person."""

from typing import Any

from tinyllm.course.workers import WORDS
from tinyllm.course.workspace import short_path
from tinyllm.report.terminal import paragraph

MOST = 12  # lines of an input that are shown


def first_answer(task: str, message: str) -> None:
    """Print how an exercise fails, before the search for the cause, which takes seconds."""
    print(f"  {task}: {message}\n{inset('looking for the cause ...')}", flush=True)


def inset(text: str) -> str:
    """Return a paragraph indented below the name of an exercise."""
    return paragraph(text, 6)


def format_verdict(lesson: Any, verdict: Any, before: Any, printed: str = "") -> list[str]:
    """Format a verdict as paragraphs; the first contains the name of the exercise."""
    task, held = lesson.task(verdict.task), len(verdict.held)
    line = f"  {verdict.task:<24} {WORDS.get(verdict.state, verdict.state):<14}"
    if not verdict.runs:
        return [line.rstrip()]
    if verdict.state == "not_attempted":
        lacks = verdict.message.startswith("there is no function")
        near = verdict.message.partition("; ")[2]
        return [line.rstrip() + ", for the file lacks it" * lacks + f"; {near}" * bool(near)]
    line += f" {held} of {held + len(verdict.broken)} {task.about.counted}"
    if before is not None and before != held:
        line += f", {before} before"
    if verdict.state == "passed":
        return [line, *map(inset, filter(None, verdict.message.split("\n"))), *format_output(printed)]
    helps = inset(f"`tinyllm hint {short_path(lesson.name)} {verdict.task}` helps") + "\n"
    return [line, *reasons(verdict, task.kind), *format_output(printed), helps]


def reasons(verdict: Any, kind: str) -> list[str]:
    """Format as paragraphs why an exercise fails: the property, the mistake's name, the smallest input."""
    lines = []
    if verdict.broken and kind != "tests" and verdict.state == "failed":
        lines.append(inset(f"fails: {verdict.broken[0]}"))
    lines.append(inset(verdict.message + (f" (line {verdict.line})" if verdict.line else "")))
    if verdict.mistake:
        lines.append(inset(f"your output equals {verdict.mistake}"))
    elif verdict.step:
        lines.append(inset(f"on the way to the right result comes {verdict.step}; "
                           "none of your variables ever has this value"))
    if verdict.smallest_input:
        lines += [inset("smallest input:"), *shortened(verdict.smallest_input.split("\n"))]
    return lines


def shortened(shown: list[str]) -> list[str]:
    """Format the lines of an input as paragraphs; cut the longest, so that the cause stays on the screen."""
    several = [paragraph(each.strip(), 8, 12).split("\n") for each in shown]
    least = max((n for n in range(1, MOST) if sum(len(each[:n]) for each in several) <= MOST), default=1)
    return ["\n".join(each[:least]) + " ..." * (len(each) > least) for each in several]


def format_output(printed: str) -> list[str]:
    """Format as paragraphs the first lines that a student's code printed."""
    lines = [paragraph(each, 8, 12) for each in printed.split("\n")]
    return [inset("the first lines that your code printed:"), *lines] if printed else []
