"""Check the instructor's files: course.toml, releases without solutions, packages, and bad arguments."""

import ast
import inspect
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from helpers import refuses

from tinyllm.course.answer_keys import answers, read as read_answers
from tinyllm.course.classroom.config import load_course
from tinyllm.course.classroom.release import require_stubs
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import find_lesson, syllabus
from tinyllm.ops import OPS

LESSON, WHEEL = find_lesson(4), "tinyllm_lab-0.1.0-py3-none-any.whl"
SOFTMAX, MATMUL = (read_answers(10)[op]["reference"] for op in ("softmax", "matmul"))
SMALL = "seed = 1\n[[lesson]]\nnumber = 4\n"


def test_init_writes_a_course_that_loads_and_no_answer_leaves_with_its_release(here, printed, refused):
    printed("course", "init", 6, "04", 6, 11, 12)
    assert [lesson.number for lesson in load_course().lessons] == [4, 6, 11, 12]
    Path("course.toml").unlink()
    told = printed("course", "init")
    first = Path("course.toml").read_text("utf-8")
    assert "move it away" in refused("course", "init")
    told += first + printed("course", "release", "handout")
    assert [line for line in told.splitlines() if len(line) > 80] == []
    names = {path.name for path in Path("handout").rglob("*.*")}
    assert names == {"README.md", "exercise.py", "exercise.c", "lesson.py"}
    sent = "\n".join(path.read_text("utf-8") for path in Path("handout").rglob("*.*"))
    tasks = [task for lesson in syllabus() for task in lesson.tasks if task.kind != "op"]
    for known in map(answers, tasks):
        for text in (known.reference, *(answer.text for answer in (*known.right, *known.wrong))):
            assert text not in sent or text == find_lesson(12).starter
    found = load_course()
    assert str(found.seed) not in sent and "installs another project" in sent
    assert "is there already" in refused("course", "release", "handout")
    assert len(found.parts) >= 10 and found.variant("a") == load_course().variant("a")
    assert len({found.variant(str(i)) for i in range(100)}) == found.variants


def without_spaces(line):
    return re.sub(r"\s+", "", line).replace('"', "'")


def solution_lines():
    """Yield (line without spaces, number of the lesson) for lines of the library that reveal a solution."""
    for lesson in syllabus():
        for task in lesson.tasks:
            tree = ast.parse(inspect.getsource(OPS[task.op].reference)).body[0]
            lines = [line for part in tree.body[1:] for line in ast.unparse(part).splitlines()]
            for line in [*lines, *(answers(task).reference.splitlines() if task.kind == "c" else [])]:
                if len(line.strip()) >= 24 and not re.match(r" *(for\W|raise|def|import|void|#)", line):
                    yield without_spaces(line), lesson.number


def test_no_line_of_a_solution_is_in_what_students_get_before_it_is_taught():
    found = list(solution_lines())
    assert len(found) > 100
    for lesson in syllabus():
        for path in lesson.path.glob("*.[pc]*"):
            given = {without_spaces(line.lstrip("#/* ")) for line in path.read_text("utf-8").splitlines()}
            taught = lesson.number if path.name == "lesson.py" else 0  # a lesson may repeat what came before
            assert [line for line, number in found if number >= taught and line in given] == [], path


@pytest.mark.parametrize("number, file, text, words", [
    (4, "exercise.py", "def softmax(x):\n    return x\n", "softmax is more than a stub"),
    (4, "exercise.py", "def softmax(x):\n    x = x - peak[\n", "exercise.py, line 2"),
    (10, "exercise.c", SOFTMAX + MATMUL, "softmax_c is more than a stub"),
    (11, "exercise.py", answers(find_lesson(11).tasks[0]).reference, "test_softmax is more than a stub"),
    (12, "exercise.py", solved(LESSON.task("softmax")), "gpt is more than a stub"),
])
def test_a_release_from_a_checkout_where_exercises_are_solved_is_refused(here, number, file, text, words):
    Path("course.toml").write_text(f"seed = 1\n[[lesson]]\nnumber = {number}\n")
    folder, stub = find_lesson(number).folder, find_lesson(number).starter
    refuses(words, require_stubs, load_course(), {(folder, "exercise.py"): stub, (folder, file): text})


@pytest.mark.parametrize("given", [
    ("", "lacks lesson"), ("[[lesson]]\nnumber = 99\n", "no lesson 99"), ("x = [", "TOML"),
    ("[[lesson]]\nnumber = 4\npoints = { sofmax = 1 }\n", "no exercise 'sofmax'"),
    ("[[lesson]]\nnumber = 4\npoints = { softmax = -1 }\n", "holds -1 as lesson 4.points.softmax"),
    ("[[lesson]]\nnumber = 4\ndue = 2026-10-01T23:59\n", "does a text or a time lack quotes?"),
    ("[[lesson]]\nnumber = 4\npoints = {}\n", "lesson 4 has no points"),
    ("[[lesson]]\nnumber = 4\nhere = 1\n", "no setting 'here'"),
    ("sede = 1\n[[lesson]]\nnumber = 4\n", "no setting 'sede'"),
    ("[[lesson]]\nnumber = 4\n[[lesson]]\nnumber = 4\n", "one [[lesson]] for each lesson"),
    ("seed = 'x'\n[[lesson]]\nnumber = 4", "seed"), ("[[lesson]]\npoints = {}\n", "needs a number"),
    ("[[lesson]]\nnumber = 4\nfolder = 'own/100_x'\n", "needs a number"),
    ("variants = 10000000000\n[[lesson]]\nnumber = 4", "at most 1000000"),
    ("seed = -1\n[[lesson]]\nnumber = 4", "seed must be a whole number, at least 0"),
    ("[[lesson]]\nnumber = 4\ndue = '2026-13-01'", "due is '2026-13-01'"),
    ("[[lesson]]\nnumber = 4\ndue = false", "4.due, where a text belongs"),
    ("[[lesson]]\nnumber = 4\n", "add this line at its top, and keep the file to yourself: seed = "),
    (None, "`tinyllm course init` writes one"),  # without a file, the seed was once 0 for everybody
    *((SMALL, words, arguments) for arguments, words in (
        ("grade nowhere", "no folder nowhere"), ("grade . --workers 0", "must be 1 or more"),
        ("grade empty", "holds no submissions"), (f"gradescope nowhere/{WHEEL}", "cannot read nowhere"),
        ("gradescope course.toml", "not named as a wheel"))),
], ids=str)
def test_a_bad_course_file_and_bad_arguments_are_one_line(here, refused, given):
    text, words, arguments = (*given, "grade subs --out out")[:3]
    if text is not None:
        (here / "course.toml").write_text(text)
    (here / "empty").mkdir()
    assert words in refused("course", *arguments.split())
    assert not Path("out").exists() and not Path("autograder.zip").exists()


def test_gradescope_installs_the_package_from_its_file_and_its_scripts_are_bash(here, printed):
    (here / "course.toml").write_text(SMALL)
    (here / WHEEL).write_bytes(b"wheel")
    printed("course", "gradescope", WHEEL, "--out", "auto.zip")
    with zipfile.ZipFile("auto.zip") as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
        assert archive.getinfo("run_autograder").external_attr >> 16 == 0o100755
    assert files[WHEEL] == "wheel" and files["course.toml"] == SMALL
    (install,) = [line for line in files["setup.sh"].splitlines() if "pip" in line and "install" in line]
    assert WHEEL in install  # a file, not a name that pip looks up in a registry
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n"], input=files[name], text=True, check=True).returncode == 0
