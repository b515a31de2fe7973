"""Check an instructor's own exercises: the example of lessons/README.md, and bad folders."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest
from helpers import refuses

from tinyllm.cli import main
from tinyllm.course import own_tasks
from tinyllm.course.drawing import defaults, properties
from tinyllm.course.syllabus import lessons_folder
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES, VARIANTS
from tinyllm.testing.by_rule import every_edit, shared_edits
from tinyllm.testing.catalog import BOUNDS, CASES, draw_cases
from tinyllm.testing.edits import links, parsed
from tinyllm.testing.relations import parameters

COURSE = 'seed = 7\n[[lesson]]\nfolder = "own/100_averages"\npoints = { moving_average = 2 }\n'
WRONG = """import numpy as np
def moving_average(x, k):
    n = x.shape[-1] // k * k
    return x[..., :n].reshape(*x.shape[:-1], -1, k).mean(axis=-1)
"""
README = (lessons_folder() / "README.md").read_text("utf-8").partition("### Your own exercises\n")[2]
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(here):
    """Write the example of lessons/README.md into the current folder; unregister its ops afterwards."""
    before, folder = set(OPS), Path("own/100_averages")
    folder.mkdir(parents=True)
    for name, text in zip((*own_tasks.FILES, "hints.toml"), BLOCKS, strict=False):
        (folder / name).write_text(text, "utf-8")
    yield folder
    for name, table in itertools.product(set(OPS) - before, (OPS, CASES, BOUNDS, MISTAKES, VARIANTS)):
        table.pop(name, None)
    own_tasks.LOADED.clear()
    for cached in (draw_cases, properties, defaults, parameters, parsed, links, shared_edits):
        cached.cache_clear()


def test_the_example_is_checked_released_graded_and_packed_like_a_task_of_the_library(folder, printed):
    Path("course.toml").write_text(COURSE)
    assert "3 of 3 mutants rejected, 1 of 1 variants accepted" in printed("course", "selftest")
    printed("course", "release", "handout")
    (stub,) = Path("handout").rglob("*.py")
    stub = stub.read_text("utf-8")
    assert "raise NotImplementedError" in stub and "np.stack" not in stub and "k neighbours" in stub
    right = folder.joinpath("reference.py").read_text("utf-8")
    for name, text in (("right", right), ("wrong", WRONG), ("stub", stub), ("cheat", "import reference\n")):
        Path("subs", name, "100_averages").mkdir(parents=True)
        Path("subs", name, "100_averages", "exercise.py").write_text(text)
    assert main(["course", "grade", "subs", "--out", "out"]) == 0
    records = json.loads(Path("out/results.json").read_text("utf-8"))["submissions"]
    found = {record["student"]: record["lessons"][0]["tasks"][0] for record in records}
    assert {name: (task["state"], task["points"]) for name, task in found.items()} == {
        "right": ("passed", 2), "wrong": ("failed", 0), "stub": ("not_attempted", 0), "cheat": ("blocked", 0)}
    assert found["wrong"]["mistake"] == "averages of blocks of k that do not overlap"
    assert found["wrong"]["hint"].startswith("Write down y_0")
    assert "np.stack" not in Path("out/feedback/wrong.html").read_text("utf-8")
    Path("tinyllm_lab-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    assert main(["course", "gradescope", "tinyllm_lab-0.1.0-py3-none-any.whl"]) == 0
    assert b"own/100_averages/reference.py" in Path("autograder.zip").read_bytes()


def test_code_of_another_right_answer_is_not_quoted_as_if_it_were_the_formula(folder):
    own_tasks.load_lesson(folder)
    edits = [said for said, _ in every_edit("moving_average") if "cumsum" in said or "[(1, 0)]" in said]
    assert edits and all(said.endswith(", if it is written in another way") for said in edits)


def test_a_student_s_check_takes_the_folder_for_a_number(folder, capsys):
    Path("answer.py").write_text(WRONG)
    Path(".tinyllm").mkdir()  # as in a folder with lessons, where progress is kept
    assert main(["check", str(folder), "answer.py", "--json"]) == 1
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert task["mistake"] == "averages of blocks of k that do not overlap"
    assert "k = 2" in task["smallest_input"]
    for number in (1, 2):
        assert main(["hint", str(folder)]) == 0 and f"hint {number} of 2" in capsys.readouterr().out


@pytest.mark.parametrize("file, old, new, words", [
    ("reference.py", "def moving", "def (", "reference.py, line 6"),
    ("reference.py", "import numpy as np", "import nowhere", "reference.py, line 3: ModuleNotFoundError"),
    ("reference.py", "def moving_average", "def _moving_average", "has no function"),
    ("reference.py", "def moving_average", "def softmax", "another op or exercise is softmax"),
    ("reference.py", r'"""Return the(?s:.*)/ k\.\n    """', "pass", "has no docstring"),
    ("reference.py", "def moving(.*)k: int", r"K = 2\n\n\ndef moving\1k: int = K", "the stub of"),
    ("cases.py", "def moving_average", "def another", "has no attribute 'moving_average'"),
    ("cases.py", r"return random.*", "return 5", "a case is a tuple of arguments"),
    ("cases.py", r"return random.*", "return object(), 1", "the reference fails on it: AttributeError"),
    ("mistakes.py", "np.stack\\(shifted\\).sum\\(axis=0\\) / k", "x + k", "cannot be made"),
    ("mistakes.py", r"(?s:.*)", "", "has no mistake of moving_average"),
    ("hints.toml", r"(?s:.*)", "moving_average = 3", "hints.toml holds a whole number as moving_average"),
])
def test_a_bad_folder_is_one_line(folder, capsys, file, old, new, words):
    text = (folder / file).read_text("utf-8")
    (folder / file).write_text(re.sub(old, new, text, count=1))
    Path("course.toml").write_text(COURSE)
    assert main(["course", "selftest"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_folder_needs_a_number_and_its_files(folder):
    os.symlink("100_loop", "own/100_loop")
    (folder / "cases.py").unlink()
    os.mkfifo(folder / "cases.py")
    unread = "cannot read .*reference.py"
    for name, words in (("averages", "should be named"), ("4_averages", "should be named"),
                        ("100_nothing", unread), ("100_loop", unread), ("100_averages", "regular file")):
        refuses(words, own_tasks.load_lesson, Path("own", name))
