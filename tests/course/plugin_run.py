"""Write solved lessons into a workspace, and train there, for the tests of `train --mine` and `blame`."""

from tinyllm.cli import main
from tinyllm.course.reference_solution import source
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workspace import start_lesson
from tinyllm.ops.registry import OPS


def write(folder, number, extra="", change=lambda source: source):
    """Write the library's solution of a lesson into the workspace, with `extra` code, edited by `change`."""
    lesson = find_lesson(number)
    start_lesson(lesson, folder)
    text = source(OPS[task.op].reference for task in lesson.tasks) + "\n" + extra
    (folder / lesson.folder / "exercise.py").write_text(change(text))


def train(*words):
    """Run `tinyllm train` on the text of the workspace -> the exit code."""
    words = ["--steps", "12", "--lr", "0.03", *words]
    return main(["train", "--data", "text.txt", "--config", "tiny.toml", *words])
