"""Check the functions of an nbgrader notebook from a cell of the notebook.

The student's code is judged in a worker, but the cell itself runs in the student's kernel, where it can be
manipulated: for marks that count, use `tinyllm course grade`.
"""

import re
import tempfile
from pathlib import Path

from tinyllm.course.checker import as_record, judge
from tinyllm.course.classroom.feedback import headline, remark_lines
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import Launcher, best_level


def check_cell(number: int, name: str, history: list[str]) -> None:
    """Judge an exercise on the code of the cells run so far. Raises AssertionError with a bad verdict."""
    lesson = find_lesson(number)
    task = lesson.task(name)
    with tempfile.TemporaryDirectory() as folder, Launcher(best_level()) as launcher:
        code = Path(folder, "exercise.py")
        code.write_text(joined_cells(history), "utf-8")
        verdict = judge(task, lambda: launcher.start(code))
    if verdict.state != "passed":
        record = as_record(lesson, verdict)
        raise AssertionError("\n".join([f"{name}: {headline(record)}", *remark_lines(record)]))


def joined_cells(history: list[str]) -> str:
    """Join the cells that define or import something, and replace Jupyter's own commands by `pass`."""
    cells = [text for text in history if re.search(r"\b(def|import)\b", text) and "check_cell(" not in text]
    return re.sub(r"^(\s*)get_ipython\(\).*$", r"\1pass", "\n\n".join(cells), flags=re.MULTILINE) + "\n"
