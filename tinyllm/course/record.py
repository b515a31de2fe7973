"""Turn a verdict into a plain record, which `check --json` and `course grade --json` print."""

from typing import Any

from tinyllm.course.checker import Verdict
from tinyllm.course.syllabus import Lesson
from tinyllm.course.workspace import hints

WORDS = {"not_attempted": "not attempted", "timed_out": "timed out"}  # of states; any other is its own word


def as_record(lesson: Lesson, verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values -> dict."""
    return {
        "task": verdict.task, "state": verdict.state, "properties_held": len(verdict.held),
        "properties": len(verdict.held) + len(verdict.broken), "mistake": verdict.mistake,
        "hint": next(iter(hints(lesson, verdict.task)), None) if verdict.state != "passed" else None,
        "smallest_input": verdict.smallest_input, "message": verdict.message, "line": verdict.line,
        "step": verdict.step,
    }  # fmt: skip
