"""Check the lessons against syllabus.toml: memory, promised output, nothing used before it is taught."""

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest

from tinyllm import api
from tinyllm.course.stepping import cells
from tinyllm.course.syllabus import find_lesson, lessons_folder, syllabus
from tinyllm.files import read_toml
from tinyllm.ops import OPS

LESSONS = [lesson for lesson in syllabus() if (lesson.path / "lesson.py").is_file()]
TASKS = [(lesson, task) for lesson in LESSONS for task in lesson.tasks if task.kind == "op"]
EVERYWHERE = {  # modules that every lesson may use
    "tinyllm", "tinyllm.course.lesson_runner", "tinyllm.errors", "tinyllm.ops", "tinyllm.ops.registry",
    "tinyllm.ops.runtime", "tinyllm.report.terminal",
}


def test_the_map_is_in_order_and_each_lesson_has_a_title_of_its_own():
    numbers = [lesson.number for lesson in syllabus()]
    assert numbers == sorted(set(numbers))
    titles = {lesson.title for lesson in syllabus()}
    assert "Softmax and loss" in titles and len(titles) == len(numbers)


RUNNER = """
import runpy, sys
from tinyllm.ops.registry import watch
ran = set()
watch(lambda op, run, *args, **options: (ran.add(op.__name__), run(*args, **options))[1])
sys.argv, sys.path[0] = [sys.argv[1]], sys.argv[1].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
from tinyllm.train.memory import peak_rss_mb  # not ru_maxrss, which counts the process that started this one
print("\\nRAN", *sorted(ran), "\\nPEAK", int(peak_rss_mb()))
"""


def run_lesson(lesson, folder):
    """Copy a lesson into a folder and run it there -> its CompletedProcess, and the broken promises."""
    for path in lesson.path.glob("*.*"):
        shutil.copy(path, folder)
    environment = os.environ | {"TINYLLM_LESSON": "quiet"}
    how = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 900}  # no terminal
    command = [sys.executable, "-c", RUNNER, str(Path(folder, "lesson.py"))]
    done = subprocess.run(command, cwd=folder, env=environment, **how)
    ended = re.search(r"RAN(.*)\nPEAK (\d+)$", done.stdout.strip())
    if done.returncode or not ended:
        return done, [f"exit code {done.returncode}: {done.stderr[-2000:]}"]
    ran, peak = ended[1].split(), int(ended[2])
    broken = [f"{task.name} never runs" for task in lesson.tasks
              if task.kind == "op" and task.name not in ran]
    broken += [f"{peak} MiB, where {lesson.memory} are promised"] if not 0 < peak <= lesson.memory else []
    return done, broken + lesson.broken(done.stdout)


@pytest.mark.parametrize("lesson", [one for one in LESSONS if one.quick], ids=attrgetter("folder"))
def test_a_lesson_runs_and_prints_what_it_promises(lesson, tmp_path):
    """Run it in another folder, without a terminal; `make docs` runs the other lessons, too."""
    done, broken = run_lesson(lesson, tmp_path)
    assert not broken
    assert max(map(len, done.stdout.splitlines()[:-2])) <= 80
    for page in re.findall(r"(?m)^wrote (\S+\.html)", done.stdout):
        assert 0 < (tmp_path / page).stat().st_size < 2_500_000


@pytest.mark.parametrize("printed, broken", [
    ("the seed is 3\nnow the loss is 1,234.5 nats", 0), ("the seed is 4\nthe loss is 1,234.5", 1),
    ("the seed is 3\nthe loss is 1234.6", 1), ("the loss is", 2), ("the seed is 3, it was 1234", 1),
])
def test_a_promise_that_is_not_kept_is_noticed(printed, broken):
    promises = "the seed is 3", {"after": "the loss is", "low": 1000, "high": 1234.5}
    assert len(replace(LESSONS[0], expected=promises).broken(printed)) == broken


@pytest.mark.parametrize("lesson", LESSONS, ids=attrgetter("folder"))
def test_a_lesson_uses_nothing_that_is_taught_later(lesson):
    """Previews in syllabus.toml are allowed, if the lesson's text names the lesson that builds them."""
    text = (lesson.path / "lesson.py").read_text("utf-8")
    early = ahead_of(lesson.number, text)
    assert sorted(early) == sorted(lesson.previews)
    prose = " ".join(" ".join(cell.text for cell in cells(text) if cell.prose).split())
    assert [number for number in early.values() if f"lesson {number}" not in prose] == []


def ahead_of(number, text):
    """Return the names of `tinyllm` that a script uses too early: {name: number of the lesson for it}."""
    used = [(path.split("."), taught_in(path)) for path in reached(text)]
    return {parts[2 if parts[1] == "ops" else 1]: when for parts, when in used if when > number}


def reached(text):
    """Return the modules and the names inside tinyllm that a script uses, such as "tinyllm.ops.softmax"."""
    nodes = list(ast.walk(ast.parse(text)))
    known = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            known |= {each.asname or each.name: each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                path, named = f"{node.module}.{each.name}", node.module in ("tinyllm", "tinyllm.ops")
                known[each.asname or each.name] = path if named or is_module(path) else node.module
    for node in nodes:
        if isinstance(node, ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            if (path := f"{known.get(head, '')}.{rest}").count(".") <= 2 and "(" not in path:
                known[path] = path
    return [path for path in known.values() if path.startswith("tinyllm.")]


def is_module(path):
    place = Path(__file__).parents[2].joinpath(*path.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def taught_in(path):
    """Return the number of the lesson that teaches a name in tinyllm; -1 for names in EVERYWHERE."""
    _, first, *rest = path.split(".")
    if first == "ops" and rest and rest[0] in OPS:
        built = [lesson.number for lesson in syllabus() for task in lesson.tasks
                 if (task.name, task.kind) == (rest[0], "op")]
        return built[0] if built else module_in(OPS[rest[0]].reference.__module__)
    return module_in(path if is_module(path) else PUBLIC.get(first, f"tinyllm.{first}"))


def module_in(module):
    found = (lesson.number for lesson in syllabus() for name in lesson.imports
             if name != "tinyllm" and f"{module}.".startswith(f"{name}."))
    return -1 if module in EVERYWHERE else next(found, 1 + syllabus()[-1].number)


PUBLIC = {
    each.asname or each.name: node.module
    for node in ast.parse(Path(api.__file__).read_text("utf-8")).body if isinstance(node, ast.ImportFrom)
    for each in node.names
}


@pytest.mark.parametrize(("text", "early"), [
    ("import tinyllm as tl\ntl.GPT(); tl.AdamW; tl.functional.add", {"GPT": 7, "AdamW": 8, "functional": 4}),
    ("from tinyllm import ops\nops.attention; ops.adamw_step", {"attention": 6, "adamw_step": 8}),
    ("from tinyllm.ops import rope as r\nfrom tinyllm import Tensor", {"rope": 6, "Tensor": 3}),
    ("from tinyllm.decode.engine import Engine\nfrom tinyllm.course.page import curves", {"decode": 9}),
    ("import tinyllm as tl\nfrom tinyllm import ops\ntl.load_corpus; tl.override; ops.sample; ops.OPS", {}),
])
def test_what_is_used_too_early_is_noticed(text, early):
    """`tl.GPT; tl.AdamW; ops.attention` once passed in lesson 1, because only imports were checked."""
    assert ahead_of(1, text) == early


# In the middle of a paragraph: "channel i / + D/2" once became a bullet.
ACCIDENT = re.compile(r"(?m)^(?![-+*>#|] |\d+[.)] | |$).*\n([-+*>] .*|#+ .*|1[.)] .*|=+|-+)$")


@pytest.mark.parametrize("lesson", LESSONS, ids=attrgetter("folder"))
def test_a_lesson_reads_well_and_says_when_to_write_each_function(lesson):
    text = (lesson.path / "lesson.py").read_text("utf-8")
    found = cells(text)
    assert text.count("\n") <= 300
    assert (lesson.path / "exercise.py").is_file() == (lesson.tasks[0].kind != "op")  # else it is not read
    assert found[0].prose and found[0].text.startswith(f"# {lesson.number}. ")
    for cell in found:
        assert all(len(line) <= (80 if cell.prose else 78) for line in cell.text.split("\n")), cell
    prose = "\n\n".join(cell.text for cell in found if cell.prose)
    assert not ACCIDENT.findall(prose), "Markdown takes the line for a list or a heading"
    assert "__file__" not in text  # a notebook has none: `begin()` returns the folder
    prose = " ".join(cell.text for cell in found if cell.prose)
    now_you = " ".join(re.findall(r"(?s)\*\*Now you: (.*?)\*\*", prose))
    names = [task.op if task.kind == "c" else task.name for task in lesson.tasks if task.kind != "run"]
    assert [name for name in names if f"`{name}`" not in now_you] == []
    lines = [line for name, text in lesson.files.items() if name != "lesson.py" for line in text.split("\n")]
    assert [line for line in lines if len(line) > 80] == []
    # A tool once removed NumPy as an unused import, so that every student got a NameError.
    asked = [str(inspect.signature(OPS[task.op])) for task in lesson.tasks if task.kind == "op"]
    assert "ndarray" not in "".join(asked) or lesson.number == 0 or "import numpy as np" in lines


NO_HELP = re.compile(r"\bRaises\b|\b(?:19|20)\d\d\b")  # in a stub: errors, and years of sources
SHAPE_OR_TYPE = re.compile(r"\(\)|\((?:\.\.\.|[A-Z]\b|width|vocab_size)[^()]*\)|ints|float32|int64|-inf")


@pytest.mark.parametrize("lesson, task", TASKS, ids=lambda x: getattr(x, "folder", None) or x.name)
def test_a_stub_says_what_is_given_and_returned_and_has_three_hints(lesson, task):
    exec(lesson.starter, defined := {})
    stub = defined[task.name]
    assert inspect.signature(stub) == OPS[task.op].__signature__
    said, theirs = (" ".join(inspect.getdoc(one).split()) for one in (stub, OPS[task.op]))
    given = SHAPE_OR_TYPE.findall(NO_HELP.split(theirs)[0])
    assert not NO_HELP.search(said) and [each for each in given if each not in said] == []
    assert not re.search(r" [-+=/.]\n|\n +[-+=/.] ", lesson.starter), "a formula is cut beside a sign"
    hints = lesson.hints(task.name)
    assert len(set(hints)) == len(hints) == 3 and all(hints)


@pytest.mark.parametrize("path", [*lessons_folder().glob("*/exercise.toml")], ids=lambda path: path.parts[-2])
def test_the_words_of_a_lesson_are_about_its_exercises(path):
    """A wrong name here would hand out the formula that the student should find."""
    said = read_toml(path)
    names = {task.name for task in find_lesson(path.parent.name).tasks}
    assert said.keys() <= {"note", "more", "imports", "edits", "instead", "also"}
    assert {*said.get("edits", ()), *said.get("instead", ()), *said.get("also", ())} <= names
