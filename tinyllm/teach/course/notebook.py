"""What a cell of an nbgrader notebook calls: the checker, on what was typed into the notebook.

The student's code is judged in a worker as ever, but this cell runs in the student's own kernel, and a kernel
can be told to lie: for marks that count, use `tinyllm course grade`.
"""

import tempfile
from pathlib import Path

from tinyllm.teach.checker import judge
from tinyllm.teach.syllabus import find_lesson
from tinyllm.teach.workers import Zygote, best_level


def check_cell(number, name, history):
    """Judge one task on the cells that were run. Raises AssertionError with the verdict where it fails."""
    task = find_lesson(number).task(name)
    with tempfile.TemporaryDirectory() as folder, Zygote(best_level()) as zygote:
        code = Path(folder, "exercise.py")
        cells = [text for text in history if "def " in text or "import " in text]
        kept = [text for text in cells if "check_cell(" not in text and "get_ipython(" not in text]
        code.write_text("\n\n".join(kept), "utf-8")
        verdict = judge(task, lambda: zygote.start(code))
    if verdict.state != "passed":
        raise AssertionError(f"{name}: {verdict.state}; {verdict.mistake or verdict.message}")
