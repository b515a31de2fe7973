"""Write a page for each student about their submission: their code beside the findings of the check.

All text from students (names, messages, code) is shown as text, never as markup.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.workers import WORDS, isolation_words
from tinyllm.course.workspace import EXERCISES
from tinyllm.report.page import Html, assemble, tag
from tinyllm.report.tokens import plain

Files = dict[tuple[str, str], bytes]  # (folder of a lesson, name) -> content
READ, MOST_LINES, WIDEST = 2**18, 1000, 200  # of a file that is shown: bytes, lines, letters of a line


def feedback_name(student: str) -> str:
    """Return the name of a student's feedback file: STUDENT.html, with a hash if the name is not safe."""
    plain = re.sub(r"[^\w.-]+", "_", student).strip("-._")[:60]
    plain = plain.encode()[:150].decode("utf-8", "ignore")  # a file's name has at most 255 bytes
    if plain == student and not re.search(r"-[0-9a-f]{8}\Z", plain):  # else two students could share it
        return f"{plain}.html"
    return f"{plain}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.html"


def number(value: float | None) -> str:
    """Format points, whole numbers without `.0`; None, for what was not graded, is an empty text."""
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")


def score(found: dict[str, Any]) -> str:
    """Describe the points of an exercise or a submission as "2 of 3 points"; "" if it was not graded."""
    return "" if found["points"] is None else f"{number(found['points'])} of {number(found['of'])} points"


def headline(task: dict[str, Any]) -> str:
    """Describe the state of an exercise in a few words."""
    word = WORDS.get(task["state"], task["state"])
    tried = task["properties"] and task["state"] in ("passed", "failed")
    return f"{word}, {task['properties_held']} of {task['properties']} properties hold" if tried else word


def remarks(task: dict[str, Any]) -> Iterator[str]:
    """Yield remarks on an exercise: message, mistake, failing input, hint, and points set by the instructor.

    The failing input has a line for each argument; every other remark is one line.
    """
    where = f" (line {task['line']})" if task["line"] else ""
    if task["message"] and not task["message"].startswith("NotImplementedError"):
        yield task["message"] + where
    if task["state"] == "failed":
        if task["mistake"]:
            yield f"Your output equals {task['mistake']}."
        elif task["step"]:
            yield f"On the way to the right result comes {task['step']}; none of your variables has it."
        if task["smallest_input"]:
            inputs = task["smallest_input"].split("\n")
            yield "\n".join(["On this input:", *(f"  {line.strip()}" for line in inputs)])
        if task["hint"] and not task["mistake"]:  # it may be about something else than the mistake
            yield f"Hint: {task['hint']}"
    yield from by_hand(task)


def by_hand(task: dict[str, Any]) -> Iterator[str]:
    """Yield what an instructor says about an exercise: points that replace those of the check, a comment."""
    if task["checked"] != task["points"]:
        before = number(task["checked"]) or "none"
        yield f"Override: {number(task['points'])} points from your instructor; {before} from the check."
    if task["comment"]:
        yield f"Your instructor: {task['comment']}"


def feedback(course: Course, record: dict[str, Any], files: Files) -> str:
    """Return the feedback page of a student as HTML."""
    name = record["roster"].get("name", "")
    lead = f"{record['student']}{f' ({name})' if name else ''}: {score(record) or 'nothing was graded'}"
    body: list[Html | None] = []
    if record["problem"]:
        body.append(tag("p", plain(f"Nothing was graded: {record['problem']}."), class_="found"))
    for part, lesson in zip(course.parts, record["lessons"], strict=True):
        if not record["problem"] or any(task["points"] or task["comment"] for task in lesson["tasks"]):
            body.append(lesson_section(part, lesson, files))
    return assemble(course.title, plain(lead), body, f"Graded with {isolation_words(record['isolation'])}.")


def lesson_section(part: Part, lesson: dict[str, Any], files: Files) -> Html:
    """Return a section about a lesson: what was found in each exercise, then the student's files."""
    parts: list[Html | None] = [tag("h2", f"Lesson {part.lesson.number}: {part.lesson.title}")]
    if lesson["late_days"]:
        days = f"{lesson['late_days']} day{'s' * (lesson['late_days'] != 1)} late"
        parts.append(tag("p", f"{days}, so {number(lesson['deducted'])} were deducted.", class_="note"))
    told: set[str] = set()  # a file that does not run says the same about each exercise
    for task in lesson["tasks"]:
        parts.append(tag("h3", f"{task['task']}: {'; '.join(filter(None, (headline(task), score(task))))}"))
        for text in remarks(task):
            if text not in told or "\n" in text:
                parts.append(tag("pre" if "\n" in text else "p", "\n".join(map(plain, text.split("\n")))))
            told.add(text)
    for name in EXERCISES:
        if data := files.get((part.lesson.folder, name)):
            parts.append(tag("details", tag("summary", f"your {name}"), code(data)))
    return tag("section", parts)


def code(data: bytes) -> Html:
    """Return the beginning of a file with line numbers."""
    text = data[:READ].decode("utf-8-sig", "replace")
    lines = re.split(r"\r\n|\r|\n", text, maxsplit=MOST_LINES)[:MOST_LINES]
    return tag("pre", [f"{i:>4}  {plain(line[:WIDEST])}\n" for i, line in enumerate(lines, 1)])
