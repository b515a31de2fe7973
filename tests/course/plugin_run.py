"""Make a workspace with solved lessons and a tiny run, for the tests of `train --mine` and `blame`."""

import json

from tiny_run import SETTINGS, write_text

from tinyllm.cli import main
from tinyllm.course.reference_solution import source
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workspace import start_lesson
from tinyllm.ops.registry import OPS


def set_up(tmp_path, monkeypatch):
    """Make a workspace as the folder at hand, with a text and settings for a tiny run."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{name} = {json.dumps(value)}" for name, value in SETTINGS.items() if "steps" not in name]
    (tmp_path / "tiny.toml").write_text("\n".join(lines))
    write_text(tmp_path / "text.txt")
    return tmp_path


def write(folder, number, extra="", change=lambda source: source):
    """Write the library's own solution of a lesson into the workspace, changed somehow."""
    lesson = find_lesson(number)
    start_lesson(lesson, folder)
    text = source(OPS[task.op].reference for task in lesson.tasks) + "\n" + extra
    (folder / lesson.folder / "exercise.py").write_text(change(text))


def train(*words):
    """Train on the text of the workspace -> the exit code."""
    words = ["--steps", "12", "--lr", "0.03", *words]
    return main(["train", "--data", "text.txt", "--config", "tiny.toml", *words])
