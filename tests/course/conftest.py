"""Share a judge of texts and a workspace among the tests of the course."""

import json

import pytest
from tiny_run import SETTINGS, write_text

from tinyllm.course.checker import judge_task
from tinyllm.course.syllabus import Exercise

SOFTMAX = Exercise("softmax", "softmax")


@pytest.fixture
def judge(launcher, tmp_path):
    """Return a function that judges a text as a student's file, on few cases and with a short time limit."""

    def run(text, task=SOFTMAX, file="exercise.py", cpu_seconds=1, **options):
        code = tmp_path / "exercise.py"
        code.touch()
        (tmp_path / file).write_text(text, "utf-8")
        limits, few = {"cpu_seconds": cpu_seconds}, {} if task.kind == "run" else {"count": 20}
        return judge_task(task, lambda: launcher.start(code, limits), tmp_path, **few | options)

    return run


@pytest.fixture
def workspace(here):
    """Make a workspace the current folder, with a text and settings for a tiny run."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in SETTINGS.items() if "steps" not in name]
    (here / "tiny.toml").write_text("\n".join(lines))
    write_text(here / "text.txt")
    return here
