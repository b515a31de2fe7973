"""Write a page for each student about their submission: their code beside the findings of the check.

All text from students (names, messages, code) is shown as text, never as markup.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.classroom.grading import MISSING
from tinyllm.course.workers import WORDS, isolation_words
from tinyllm.report.page import Html, assemble, cards, details, html, tag
from tinyllm.report.tokens import plain

Files = dict[tuple[str, str], bytes]  # (folder of a lesson, name) -> content
UNPARSED = ("SyntaxError", "IndentationError", "TabError")
READ = 2**18  # bytes of a file that a page may show: it is read once for each exercise
AROUND, MOST_LINES, WIDEST = 4, 300, 200  # lines before and after an error; lines shown; letters of a line


def feedback_name(student: str) -> str:
    """Return the name of a student's feedback file: STUDENT.html, with a hash if the name is not safe."""
    plain = re.sub(r"[^\w.-]+", "_", student).strip("-._")[:60]
    plain = plain.encode()[:150].decode("utf-8", "ignore")  # a file's name has at most 255 bytes
    if plain == student and not re.search(r"-[0-9a-f]{8}\Z", plain):  # else it could be another's page
        return f"{plain}.html"
    return f"{plain}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.html"


def number(value: float) -> str:
    """Format points, whole numbers without `.0`."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


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
            yield f"The reference computes {task['step']} here; none of your variables ever has this value."
        if task["smallest_input"]:
            inputs = task["smallest_input"].split("\n")
            yield "\n".join(["On this input:", *(f"  {line.strip()}" for line in inputs)])
        if task["hint"]:
            yield f"Hint: {task['hint']}"
    if decided := task.get("override"):
        if decided["checked"] != task["points"]:
            given, before = number(task["points"]), number(decided["checked"])
            yield f"Override: your instructor gave {given} points; the check gave {before}."
        if decided["comment"]:
            yield f"Your instructor: {decided['comment']}"


def remark_lines(task: dict[str, Any]) -> list[str]:
    """Return the remarks about an exercise as indented lines of plain text."""
    return [f"  {line}" for text in remarks(task) for line in text.split("\n")]


def feedback(course: Course, record: dict[str, Any], files: Files) -> str:
    """Return the feedback page of a student as HTML."""
    name = record.get("roster", {}).get("name", "")
    lead = f"{record['student']}{f' ({name})' if name else ''}: {number(record['points'])} of " \
           f"{number(record['of'])} points"
    if record["problem"]:
        what = "Nothing was handed in." if record["problem"] == MISSING else \
               f"Nothing could be graded: {record['problem']}."
        body: list[Html | None] = [tag("p", plain(what), class_="found")]
    else:
        body = [overview(record)]
    pairs = list(zip(course.parts, record["lessons"], strict=True))
    body = [*(unparsed(part, lesson, files) for part, lesson in pairs), *body]
    for part, lesson in pairs:
        if not record["problem"] or any("override" in task for task in lesson["tasks"]):
            body.append(lesson_section(part, lesson, files))
    return assemble(course.title, plain(lead), body, f"Graded with {isolation_words(record['isolation'])}.")


def overview(record: dict[str, Any]) -> Html:
    """Return a student's points, exercises and late days as a row of large figures."""
    tasks = [task for lesson in record["lessons"] for task in lesson["tasks"]]
    passed = sum(task["state"] == "passed" for task in tasks)
    facts = [("points", number(record["points"]), f"of {number(record['of'])}"),
             ("exercises passed", str(passed), f"of {len(tasks)}")]
    if late := sum(lesson.get("late_days", 0) for lesson in record["lessons"]):
        taken = sum(lesson.get("deducted", 0) for lesson in record["lessons"])
        facts.append(("late days", str(late), f"{number(taken)} deducted"))
    return cards(facts)


def broken_file(lesson: dict[str, Any]) -> dict[str, Any] | None:
    """Return the first exercise of a lesson whose file is not valid Python, or None if the file is valid."""
    return next((task for task in lesson["tasks"]
                 if task["state"] == "blocked" and task["message"].startswith(UNPARSED)), None)


def unparsed(part: Part, lesson: dict[str, Any], files: Files) -> Html | None:
    """Return a note with the lines around the error if a lesson's file is not valid Python, else None."""
    task = broken_file(lesson)
    if task is None:
        return None
    where = f"line {task['line']}" if task["line"] else "it"
    said = f"{part.lesson.folder}/exercise.py: {where} does not parse; nothing below could run. "
    text = source(files, part, "exercise.py")
    shown: Sequence[int] = around(text, task["line"]) if task["line"] else ()
    return html([tag("p", said, plain(task["message"]), class_="found"), code(text, shown, task["line"])])


def lesson_section(part: Part, lesson: dict[str, Any], files: Files) -> Html:
    """Return a section about a lesson: for each exercise the findings and the student's code."""
    broken = broken_file(lesson)
    parts: list[Html | None] = [tag("h2", f"Lesson {part.lesson.number}: {part.lesson.title}")]
    if lesson.get("late_days"):
        days = f"{lesson['late_days']} day{'s' * (lesson['late_days'] != 1)} late"
        parts.append(tag("p", f"{days}, so {number(lesson['deducted'])} were deducted.", class_="note"))
    for task in lesson["tasks"]:
        points = f"{number(task['points'])} of {number(task['of'])} points"
        parts.append(tag("h3", f"{task['task']}: {headline(task)} ({points})"))
        told = remarks(task if broken is None else task | {"message": ""})
        parts += [tag("pre" if "\n" in text else "p", "\n".join(map(plain, text.split("\n"))))
                  for text in told]
        if broken is None and task["state"] not in ("not_attempted", "blocked"):
            text, shown = excerpt(part, task, files)
            found = code(text, shown, task["line"] if task["state"] == "failed" else None)
            parts.append(found if task["state"] == "failed" else details("your code", found))
    wrong = any(task["state"] not in ("passed", "not_attempted") for task in lesson["tasks"])
    if wrong and broken is None and not part.lesson.home:  # students do not have the folder of own exercises
        check = tag("code", f"tinyllm check {part.lesson.number}")
        parts.append(tag("p", check, " tries your file on your own machine, and looks for a smaller input.",
                         class_="note"))
    return tag("section", parts)


def source(files: Files, part: Part, name: str) -> list[str]:
    """Return the lines of a student's file, split as Python splits them; [] if there is no such file."""
    data = files.get((part.lesson.folder, name), b"")[:READ]
    return re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", "replace"))


def around(lines: list[str], line: int) -> range:
    """Return the numbers of the lines from AROUND before to AROUND after a line."""
    return range(max(line - AROUND, 1), min(line + AROUND, len(lines)) + 1)


def excerpt(part: Part, task: dict[str, Any], files: Files) -> tuple[list[str], list[int]]:
    """Return all lines of an exercise's file, and the numbers of the lines to show.

    The lines to show are the exercise's function, and the lines near the error if it is elsewhere. A file
    without the function is shown whole.
    """
    kind = part.lesson.task(task["task"]).kind
    lines = source(files, part, "exercise.c" if kind == "c" else "exercise.py")
    begin = next((i for i, line in enumerate(lines, 1) if re.match(rf"def {task['task']}\b", line)), None)
    if begin is None:
        return lines, list(range(1, len(lines) + 1))
    rest = enumerate(lines[begin:], begin + 1)
    end = next((i for i, line in rest if re.match(r"[^\s#)\]}]", line)), len(lines) + 1)
    while not lines[end - 2].strip():  # the first line is the `def`
        end -= 1
    shown = set(range(begin, end))
    if task["line"] and task["line"] not in shown:
        shown |= {*around(lines, task["line"])}
    return lines, sorted(shown)


def code(lines: list[str], shown: Sequence[int], marked: int | None) -> Html | None:
    """Return some lines of a file with line numbers, one of them `marked`; None if all are empty."""
    last = next((k for k in range(len(shown), 0, -1) if lines[shown[k - 1] - 1].strip()), 0)
    shown, rows = shown[:last], []
    for before, i in zip([0, *shown], shown[:MOST_LINES], strict=False):
        text = f"{i:>4}  {plain(lines[i - 1][:WIDEST])}"
        rows.append("   ⋮" if before and i > before + 1 else None)
        rows.append(tag("mark", text, class_="heat", style="--s:60; color: inherit") if i == marked else text)
    rows += [f"   ⋮  {len(shown) - MOST_LINES} lines more"] if len(shown) > MOST_LINES else []
    return tag("pre", [html([row, "\n"]) for row in rows if row is not None]) if rows else None
