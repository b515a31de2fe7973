"""Check an instructor's own exercises: the example of lessons/README.md, and bad folders."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest

from tinyllm.cli import main
from tinyllm.course import own_tasks
from tinyllm.course.classroom.results import read_results
from tinyllm.course.drawing import defaults, properties
from tinyllm.course.syllabus import lessons_folder
from tinyllm.errors import UserError
from tinyllm.ops import OPS
from tinyllm.testing import MISTAKES, VARIANTS
from tinyllm.testing.by_rule import shared_edits
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
    """Write the example of lessons/README.md into the folder at hand; forget it afterwards."""
    before, folder = set(OPS), Path("own/100_averages")
    folder.mkdir(parents=True)
    for name, text in zip((*own_tasks.FILES, own_tasks.HINTS), BLOCKS, strict=False):
        (folder / name).write_text(text, "utf-8")
    yield folder
    for name, table in itertools.product(set(OPS) - before, (OPS, CASES, BOUNDS, MISTAKES, VARIANTS)):
        table.pop(name, None)
    for cached in (draw_cases, properties, defaults, parameters, parsed, links, shared_edits):
        cached.cache_clear()


def hand_in(student, text):
    Path("subs", student, "100_averages").mkdir(parents=True)
    Path("subs", student, "100_averages", "exercise.py").write_text(text)


def test_the_example_is_checked_released_graded_and_exported_like_a_task_of_the_library(folder, printed):
    told = printed("course", "task", "check", folder)
    assert max(map(len, told.partition("  exercise ")[0].splitlines())) <= 80
    assert "it can be used" in told and "no hints" not in told
    Path("course.toml").write_text(COURSE)
    assert main(["course", "release", "handout"]) == 0
    (stub,) = Path("handout").rglob("*.py")
    stub = stub.read_text("utf-8")
    assert "raise NotImplementedError" in stub and "np.stack" not in stub and "k neighbours" in stub
    right = folder.joinpath("reference.py").read_text("utf-8")
    for name, text in (("right", right), ("wrong", WRONG), ("stub", stub), ("cheat", "import reference\n")):
        hand_in(name, text)
    assert main(["course", "grade", "subs", "--out", "out"]) == 0
    records = read_results("out")["submissions"]
    found = {record["student"]: record["lessons"][0]["tasks"][0] for record in records}
    assert {name: (task["state"], task["points"]) for name, task in found.items()} == {
        "right": ("passed", 2), "wrong": ("failed", 0), "stub": ("not_attempted", 0), "cheat": ("blocked", 0)}
    assert found["wrong"]["mistake"] == "averages of blocks of k that do not overlap"
    assert found["wrong"]["hint"].startswith("Write down y_0")
    assert "np.stack" not in Path("out/feedback/wrong.html").read_text("utf-8")
    wheel = Path("tinyllm_lab-0.1.0-py3-none-any.whl")
    wheel.write_bytes(b"wheel")
    assert main(["course", "export", "gradescope", "--out", "gradescope", "--package", str(wheel)]) == 0
    assert b"own/100_averages/reference.py" in Path("gradescope").read_bytes()


def test_a_student_s_check_takes_the_folder_for_a_number(folder, capsys):
    Path("answer.py").write_text(WRONG)
    Path(".tinyllm").mkdir()  # as in a folder with lessons, where progress is kept
    assert main(["check", str(folder), "answer.py", "--json"]) == 1
    (task,) = json.loads(capsys.readouterr().out)["tasks"]
    assert task["mistake"] == "averages of blocks of k that do not overlap"
    assert "k = 2" in task["smallest_input"]
    for number in (1, 2):
        assert main(["hint", str(folder)]) == 0 and f"hint {number} of 2" in capsys.readouterr().out


def test_a_list_of_cases_and_code_beside_the_reference_are_fine(folder):
    (folder / "cases.py").write_text("import numpy as np\nmoving_average = [(np.arange(6.0), 2)]\n")
    (folder / "helper.py").write_text("def kept(function):\n    return function\n")
    text = (folder / "reference.py").read_text("utf-8").replace("def moving", "@helper.kept\ndef moving")
    (folder / "reference.py").write_text("import helper\n" + text)
    first = own_tasks.load_lesson(folder)
    assert own_tasks.load_lesson(folder) == first and "helper" not in first.stub
    assert draw_cases("moving_average")[0][0].dtype == "float32"
    exec(first.stub, {})


def test_a_stub_that_does_not_run_is_refused(folder, capsys):
    text = (folder / "reference.py").read_text("utf-8").replace("k: int", "k: int = K")
    (folder / "reference.py").write_text(text.replace("def moving", "K = 2\n\n\ndef moving"))
    assert main(["course", "task", "check", str(folder)]) == 2
    assert "the stub of moving_average does not run" in capsys.readouterr().err


@pytest.mark.parametrize("file, old, new, words", [
    ("reference.py", "def moving", "def (", "reference.py, line 6: "),
    ("reference.py", "import numpy as np", "import nowhere", "reference.py, line 3: ModuleNotFoundError"),
    ("reference.py", "def moving_average", "def _moving_average", "has no function"),
    ("reference.py", "def moving_average", "def softmax", "another op or exercise is softmax"),
    ("reference.py", r'"""Return the(?s:.*)/ k\.\n    """', "pass", "has no docstring"),
    ("cases.py", "def moving_average", "def another", "cases.py: moving_average is missing"),
    ("cases.py", r"return random.*", "return 5", "a case is a tuple of arguments"),
    ("cases.py", r"return random.*", "return object(), 1", "the reference fails on it: AttributeError"),
    ("cases.py", r"def moving(?s:.*)", "moving_average = []", "moving_average is missing: a list"),
    ("mistakes.py", "np.stack\\(shifted\\).sum\\(axis=0\\) / k", "x + k", "cannot be made"),
    ("mistakes.py", r"(?s:.*)", "", "has no mistake of moving_average"),
    ("hints.toml", r"(?s:.*)", "moving_average = 3", "hints.toml holds a whole number as moving_average"),
])
def test_a_bad_folder_is_one_line(folder, file, old, new, words):
    text = (folder / file).read_text("utf-8")
    (folder / file).write_text(re.sub(old, lambda found: new, text, count=1))
    with pytest.raises(UserError) as found:
        own_tasks.load_lesson(folder)
    assert words in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["averages", "4_averages", "100_averages/..", "nowhere/100_averages"])
def test_a_folder_needs_a_number_and_its_files(folder, name):
    Path("own/averages").mkdir()
    with pytest.raises(UserError):
        own_tasks.load_lesson(Path("own", name))


def test_a_file_that_is_a_pipe_or_a_link_to_itself_is_one_line(folder, capsys):
    (folder / "cases.py").unlink()
    os.mkfifo(folder / "cases.py")
    os.mkfifo("exercise.py")
    os.symlink("100_loop", "100_loop")
    os.symlink("loop.py", "loop.py")
    for command, words in ((("course", "task", "check", str(folder)), "it is not a regular file"),
                           (("check", "4", "exercise.py"), "it is not a regular file"),
                           (("course", "task", "check", "100_loop"), ""), (("check", "4", "loop.py"), "")):
        assert main([*command]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
