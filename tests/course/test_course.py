"""Check the instructor's files: course.toml, releases without solutions, impossible arguments."""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tinyllm.cli import main
from tinyllm.course.answer_keys import answers
from tinyllm.course.answer_keys import read as read_answers
from tinyllm.course.classroom.config import load_course
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import find_lesson, syllabus

LESSON, SEED, WHEEL = find_lesson(4), 190417283, "tinyllm_lab-0.1.0-py3-none-any.whl"
SOFTMAX, MATMUL = (read_answers(10)[op]["reference"] for op in ("softmax", "matmul"))


@pytest.fixture
def course(here):
    """A folder with a course file, and a file that is named as a wheel."""
    points = "points = { softmax = 2, softmax_backward = 1 }"
    (here / "course.toml").write_text(f"seed = {SEED}\n[[lesson]]\nnumber = 4\n{points}\n")
    (here / WHEEL).write_bytes(b"wheel")
    return here


def read(path):
    return Path(path).read_text("utf-8")


def test_a_release_holds_stubs_only(course):
    assert main(["course", "release", "handout"]) == 0
    paths = [path for path in Path("handout").rglob("*") if path.is_file()]
    assert sorted(path.name for path in paths) == ["README.md", "exercise.py", "lesson.py"]
    handout = read("handout/README.md")
    assert "seed" not in handout and "installs another project" in handout and "exercise.c" not in handout
    assert not any(str(SEED) in read(path) for path in paths)
    assert main(["course", "release", "handout"]) == 2  # never over another


def source(text):
    os.makedirs(f"mine/{LESSON.folder}", exist_ok=True)
    with open(f"mine/{LESSON.folder}/exercise.py", "w", encoding="utf-8") as f:
        f.write(text)


LAST = solved(LESSON.task("softmax")).strip().splitlines()[-1].strip()
STUB = "def softmax_backward(dy, y):\n    raise NotImplementedError\n\n\ndef softmax(x):\n"


@pytest.mark.parametrize("text, words", [
    (STUB + "    return x\n", "softmax is more than a stub"),
    (STUB + "    raise NotImplementedError\n# e = exp(subtract(x, peak))\nx = x - peak[\n", "exercise.py:"),
    (STUB + f"    raise NotImplementedError\n# {LAST}\n", "a line of the solution of softmax"),
    ("def softmax(x):\n    raise NotImplementedError\n", "softmax_backward is an exercise"),
    (STUB + "    raise NotImplementedError\n# BEGIN SOLUTION\n", "'BEGIN SOLUTION'"),
])
def test_a_release_that_would_leak_is_refused(course, refused, text, words):
    source(STUB + "    raise NotImplementedError\n")
    assert main(["course", "release", "fine", "--from", "mine"]) == 0
    source(text)
    assert words in refused("course", "release", "handout", "--from", "mine")
    assert not os.path.exists("handout")


@pytest.mark.parametrize("number, file, text, words", [
    (10, "exercise.c", SOFTMAX + MATMUL, "softmax_c is more than a stub in exercise.c"),
    (10, "exercise.py", "# " + SOFTMAX.splitlines()[9].strip(), "line of the solution of softmax"),
    (10, "exercise.c", "// " + MATMUL.splitlines()[5].strip(), "a line of the solution of matmul"),
    (11, "exercise.py", read_answers(11)["reference"], "test_softmax is more than a stub"),
    (12, "exercise.py", solved(LESSON.task("softmax")), "take them out"),
])
def test_no_solution_of_another_kind_leaves_either(here, refused, number, file, text, words):
    lesson = find_lesson(number)
    shutil.copytree(lesson.path, Path("mine", lesson.folder))
    Path("mine", lesson.folder, file).write_text(text, "utf-8")
    Path("course.toml").write_text(f"seed = 1\n[[lesson]]\nnumber = {number}\n", "utf-8")
    assert words in refused("course", "release", "handout", "--from", "mine")
    assert not os.path.exists("handout")


def test_init_writes_a_course_that_loads_and_no_answer_leaves_with_its_release(here, capsys):
    assert main(["course", "init"]) == 0
    first = read("course.toml")
    told = capsys.readouterr().out + first
    assert main(["course", "init"]) == 2 and read("course.toml") == first
    assert main(["course", "release", "handout"]) == 0
    told += capsys.readouterr().out
    assert [line for line in told.splitlines() if len(line) > 80] == []
    sent = "\n".join(path.read_text("utf-8") for path in Path("handout").rglob("*.*"))
    tasks = [task for lesson in syllabus() for task in lesson.tasks if task.kind != "op"]
    for known in map(answers, tasks):
        for text in (known.reference, *(answer.text for answer in (*known.right, *known.wrong))):
            assert text not in sent or text == read(find_lesson(12).path / "exercise.py")
    found = load_course("course.toml")
    assert len(found.parts) >= 10 and found.variant("a") == load_course("course.toml").variant("a")
    assert len({found.variant(str(i)) for i in range(100)}) == found.variants


@pytest.mark.parametrize("text, words", [
    ("", "names no lessons"), ("[[lesson]]\nnumber = 99\n", "no lesson 99"), ("x = [", "TOML"),
    ("[[lesson]]\nnumber = 4\npoints = { sofmax = 1 }\n", "no exercise 'sofmax'"),
    ("[[lesson]]\nnumber = 4\npoints = { softmax = -1 }\n", "points"), ("sede = 1\n", "no setting 'sede'"),
    ("[[lesson]]\nnumber = 4\n[[lesson]]\nnumber = 4\n", "twice"),
    ("seed = 'x'\n[[lesson]]\nnumber = 4", "seed"), ("[[lesson]]\npoints = {}\n", "needs a number"),
    ("variants = 0\n[[lesson]]\nnumber = 4", "variants must be a whole number, at least 1"),
    ("variants = 10000000000\n[[lesson]]\nnumber = 4", "at most 1000000"),
    ("seed = -1\n[[lesson]]\nnumber = 4", "seed must be a whole number, at least 0"),
    ("[[lesson]]\nnumber = 4\ndue = '2026-13-01'", "due should be a date such as 2026-10-01"),
    ("[[lesson]]\nnumber = 4\ndue = false", "due should be a date such as 2026-10-01"),
    ("seed = 2026-01-01\n[[lesson]]\nnumber = 4", "got '2026-01-01'"),
    ("[[lesson]]\nnumber = 4\n", "add this line at its top, and keep the file to yourself: seed = "),
])
def test_a_bad_course_file_is_one_line(here, refused, text, words):
    (here / "course.toml").write_text(text)
    (here / "subs").mkdir()
    assert words in refused("course", "grade", "subs", "--out", "out") and not os.path.exists("out")


def test_help_takes_eighty_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["course"]) == 0
    for command in ("init", "release", "grade", "report", "export", "selftest"):
        with pytest.raises(SystemExit):
            main(["course", command, "--help"])
    told = capsys.readouterr().out
    assert "release" in told and [line for line in told.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("arguments", [
    ["grade", "nowhere", "--out", "out"], ["grade", ".", "--out", "out", "--workers", "0"],
    ["report", "nowhere"],
    ["export", "canvas", "nowhere", "--out", "x"], ["export", "canvas", "--out", "x"],
    ["export", "gradescope", "--out", "x"], ["grade", ".", "--out", "o", "--isolation", "bubbles"],
])
def test_bad_arguments_are_one_line(here, capsys, arguments):
    assert main(["course", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_gradescope_installs_the_package_from_its_file_and_its_scripts_are_bash(course, refused):
    export = ["course", "export", "gradescope", "--out", "auto.zip"]
    for package in ([], ["--package", "nowhere/" + WHEEL], ["--package", "course.toml"]):
        assert refused(*export, *package) and not Path("auto.zip").exists()
    assert main([*export, "--package", WHEEL]) == 0
    with zipfile.ZipFile("auto.zip") as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert files[WHEEL] == "wheel" and files["course.toml"] == read("course.toml")
    (install,) = [line for line in files["setup.sh"].splitlines() if "pip" in line and "install" in line]
    assert WHEEL in install  # and no name to be looked up in a registry
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n"], input=files[name], text=True, check=True).returncode == 0
