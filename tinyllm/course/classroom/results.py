"""Write and read the results of grading: two tables, results.json, and a page for each student.

Text from students (names, messages) is never read as a formula in a spreadsheet or as markup in a page.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.feedback import Files, feedback, feedback_name
from tinyllm.course.classroom.grading import RECORD
from tinyllm.course.classroom.tables import grades, tasks
from tinyllm.course.workers import isolation_words
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, read_json
from tinyllm.report.page import write

RESULTS = {"course": str, "isolation": str, "note": str, "submissions": [RECORD], "left_out": [str]}


def write_results(out: str | Path, course: Course, records: list[dict[str, Any]], level: str,
                  left_out: Sequence[str] = (), files: Callable[[Any], Files] = lambda record: {}) -> None:
    """Write the tables, results.json and feedback into a folder. Raises UserError if that is not possible.

    left_out: names of files that are not submissions.
    files: returns the files of a record's student, to show the code.
    """
    out = Path(out)
    try:
        (out / "feedback").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from None
    results: dict[str, Any] = {"course": course.title, "isolation": level, "note": isolation_words(level)}
    results |= {"submissions": records, "left_out": list(left_out)}
    atomic_write_text(out / "results.json", json.dumps(results, indent=1, sort_keys=True) + "\n")
    atomic_write_text(out / "grades.csv", grades(records))
    atomic_write_text(out / "tasks.csv", tasks(records))
    for record in records:  # last, because their names are made of what students chose
        page = feedback(course, record, files(record))
        write(out / "feedback" / feedback_name(record["student"]), page)


def read_results(out: str | Path) -> dict[str, Any]:
    """Read the results.json of an earlier grading. Raises UserError if it is missing or damaged."""
    path = Path(out) / "results.json"
    if not os.path.lexists(path):
        raise UserError(f"there is no {path}; `tinyllm course grade` writes one")
    try:
        results = read_json(path, RESULTS)
        if not results["submissions"]:
            raise UserError(f"{path} holds no submissions")
        return results
    except UserError as error:
        raise UserError(f"{error}; it is not what `tinyllm course grade` writes: grade again") from None
