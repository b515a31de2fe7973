"""Write the results of grading: grades.csv, results.json, feedback for each student, and a summary.

All text from students (names, messages) is shown as text: never as a formula in a spreadsheet or as markup in
a page.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyllm.course.checker import WORDS
from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.grading import RECORD
from tinyllm.course.workers import isolation_words
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_json

RESULTS = {"course": str, "isolation": str, "note": str, "submissions": [RECORD], "left_out": [str]}


def write_results(out: str | Path, course: Course, records: list[dict[str, Any]], level: str,
                  left_out: Sequence[str] = ()) -> None:
    """Write grades.csv, results.json and feedback into a folder; left_out: files that are no submissions.

    Raises UserError where it cannot be written.
    """
    out = Path(out)
    try:
        (out / "feedback").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from None
    results: dict[str, Any] = {"course": course.title, "isolation": level, "note": isolation_words(level)}
    results |= {"submissions": records, "left_out": list(left_out)}
    atomic_write_text(out / "grades.csv", grades(course, records))
    atomic_write_text(out / "results.json", json.dumps(results, indent=1, sort_keys=True) + "\n")
    for record in records:  # last, because their names are made of what students chose
        atomic_write_text(out / "feedback" / feedback_name(record["student"]), feedback(course, record))


def read_results(out: str | Path) -> dict[str, Any]:
    """Read what an earlier grading wrote -> the dict of results.json. Raises UserError."""
    path = Path(out) / "results.json"
    if not os.path.lexists(path):
        raise UserError(f"there is no {path}; `tinyllm course grade` writes one")
    try:
        return read_json(path, RESULTS)
    except UserError as error:
        raise UserError(f"{error}; it is not what `tinyllm course grade` writes: grade again") from None


def cell(text: str) -> str:
    """Return a text for a cell of a spreadsheet, changed if it could be read as a formula."""
    return "'" + text if text[:1] in "=+-@\t\r＝＋－＠" and text else text  # also full-width signs


def number(value: float) -> str:
    """Format points; whole numbers without .0 -> str."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def table(rows: list[list[str]]) -> str:
    """Format rows as CSV, the same bytes on every system -> str."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def grades(course: Course, records: list[dict[str, Any]]) -> str:
    """Return the text of grades.csv: a row for each student, a column for each lesson."""
    numbers = [part.lesson.number for part in course.parts]
    rows = [["student", *(f"lesson_{n:02}" for n in numbers), "points", "of", "isolation", "note"]]
    for record in records:
        lessons = {x["lesson"]: sum(t["points"] for t in x["tasks"]) for x in record["lessons"]}
        points = [number(lessons.get(n, 0)) for n in numbers]
        level = record["isolation"] if record["isolation"] != "plain" else "plain (stops accidents only)"
        last = [number(record["points"]), number(record["of"]), level, cell(record["problem"])]
        rows.append([cell(record["student"]), *points, *last])
    return table(rows)


def feedback_name(student: str) -> str:
    """Return the name of a student's feedback file: STUDENT.md, or with a hash if that is not safe."""
    plain = re.sub(r"[^\w.-]+", "_", student).strip("-._")[:60]
    plain = plain.encode()[:150].decode("utf-8", "ignore")  # a file's name has at most 255 bytes
    if plain == student and not re.search(r"-[0-9a-f]{8}\Z", plain):  # or another's page
        return f"{plain}.md"
    return f"{plain}-{hashlib.sha256(student.encode()).hexdigest()[:8]}.md"


def quoted(text: str) -> str:
    """Return a text as code in Markdown, so that none of it is read as markup."""
    return "`" + text.replace("`", "'") + "`"


def feedback(course: Course, record: dict[str, Any]) -> str:
    """Return one student's page in Markdown -> str."""
    lines = [f"# {course.title}", "", f"{quoted(record['student'])}: {number(record['points'])} of "
             f"{number(record['of'])} points", ""]  # fmt: skip
    if record["problem"]:
        lines += [f"Nothing could be graded: {quoted(record['problem'])}.", ""]
    for lesson in record["lessons"] if not record["problem"] else ():
        lines += [f"## Lesson {lesson['lesson']}", ""]
        for task in lesson["tasks"]:
            points = f"{number(task['points'])} of {number(task['of'])}"
            lines += [f"* **{task['task']}**: {headline(task)} ({points})", *feedback_lines(task)]
        if any(task["state"] not in ("passed", "not_attempted") for task in lesson["tasks"]):
            check = f"`tinyllm check {lesson['lesson']}`"
            lines += ["", f"{check} tries your file on your own machine, and looks for a smaller input."]
        lines.append("")
    return "\n".join([*lines, f"Graded with {isolation_words(record['isolation'])}.", ""])


def headline(task: dict[str, Any]) -> str:
    """Describe the state of a task in a few words -> str."""
    word = WORDS.get(task["state"], task["state"])
    tried = task["properties"] and task["state"] in ("passed", "failed")
    return f"{word}, {task['properties_held']} of {task['properties']} properties hold" if tried else word


def feedback_lines(task: dict[str, Any]) -> list[str]:
    """Return the lines about a task below its headline: message, mistake, input and hint."""
    lines = []
    where = f" (line {task['line']})" if task["line"] else ""
    if task["message"] and not task["message"].startswith("NotImplementedError"):
        lines.append(f"  {quoted(task['message'])}{where}")
    if task["state"] != "failed":
        return lines
    if task["mistake"]:
        lines.append(f"  Your output equals {task['mistake']}.")
    elif task["step"]:
        first = f"  The first step that differs: the library has {quoted(task['step'])} here"
        lines.append(f"{first}, and none of your variables does.")
    if task["smallest_input"]:
        inputs = [f"      {line}" for line in task["smallest_input"].split("\n")]
        lines += ["  On this input:", "", *inputs, ""]
    if task["hint"]:
        lines.append(f"  Hint: {task['hint']}")
    return lines


def summary(results: dict[str, Any]) -> dict[str, Any]:
    """Summarise a grading: states of tasks, common bugs, who asked for solutions -> dict of plain values."""
    graded = [record for record in results["submissions"] if not record["problem"]]
    tasks: dict[tuple[int, str], Counter] = {}
    bugs: Counter = Counter()
    for record in graded:
        for lesson in record["lessons"]:
            for task in lesson["tasks"]:
                states = tasks.setdefault((lesson["lesson"], task["task"]), Counter())
                states[task["state"]] += 1
                if task["mistake"]:
                    bugs[lesson["lesson"], task["task"], task["mistake"]] += 1
    return {
        "isolation": results["isolation"],
        "submissions": len(results["submissions"]),
        "refused": [(r["student"], r["problem"]) for r in results["submissions"] if r["problem"]],
        "left_out": results.get("left_out", []),
        "tasks": [{"lesson": n, "task": name, **states} for (n, name), states in sorted(tasks.items())],
        "bugs": [
            {"lesson": n, "task": name, "mistake": said, "students": count}
            for (n, name, said), count in sorted(bugs.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "solutions": [
            {"student": r["student"], "lesson": lesson["lesson"], "task": task["task"]}
            for r in graded for lesson in r["lessons"] for task in lesson["tasks"] if task["solution_seen"]
        ],
    }  # fmt: skip
