"""The instructor's commands, from a course file to exports, on good submissions and on bad ones."""

import json
import os
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tinyllm.cli import main
from tinyllm.course.classroom.collect import collect
from tinyllm.course.classroom.config import load_course
from tinyllm.course.classroom.release import stubs
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import find_lesson
from tinyllm.course.workers import best_level

LESSON = find_lesson(4)
COURSE = """title = "Test"
seed = 7
variants = 2
[[lesson]]
number = 4
due = 2026-10-01
points = { softmax = 2, softmax_backward = 1 }
"""
WRONG = "import numpy as np\ndef softmax(x):\n    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)\n"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with a course file and some submissions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").write_text(COURSE)
    right = "\n\n".join(solved(LESSON.task(name)) for name in ("softmax", "softmax_backward"))
    hand_in("Ada Lovelace", right)
    hand_in("wrong", WRONG)
    hand_in("=1+2", "def softmax(x):\n    raise ValueError('`<b>\\x1b[2J`')\n")
    hand_in("Юлія 😀", "def softmax(x:\n")
    hand_in("untouched", (LESSON.path / "exercise.py").read_text("utf-8"))
    with zipfile.ZipFile("subs/zipped.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"work/{LESSON.folder}/exercise.py", right)
    return tmp_path


def hand_in(student, text):
    folder = os.path.join("subs", student, LESSON.folder)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "exercise.py"), "w", encoding="utf-8") as f:
        f.write(text)


def bad_zip(name, *entries, change=lambda info: None, data=b"x"):
    with zipfile.ZipFile(f"subs/{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(entry)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, data)


def as_link(info):
    info.external_attr = 0o120777 << 16


def read(path):
    return Path(path).read_text("utf-8")


def grade(*more):
    assert main(["course", "grade", "subs", "--out", "out", *more]) == 0
    with open("out/grades.csv", "rb") as f:
        return f.read()


def test_good_and_bad_are_graded_side_by_side(course, capsys):
    hand_in("＝1", "")  # to some spreadsheets that is a formula too
    bad_zip("absolute", "/etc/passwd")
    bad_zip("climbing", f"../../{LESSON.folder}/exercise.py")
    bad_zip("link", f"{LESSON.folder}/exercise.py", change=as_link)
    bad_zip("bomb", f"{LESSON.folder}/exercise.py", data=bytes(2**26))
    bad_zip("empty", "readme.txt")
    hand_in("zipped", WRONG)
    Path("subs/notes.txt").write_text("")
    with open("subs/broken.zip", "wb") as f:
        f.write(b"PK\x03\x04" + bytes(100))
    os.symlink("/etc", "subs/linked")
    text = grade("--workers", "2").decode()
    rows = dict(line.rsplit(",", 5)[:2] for line in text.splitlines()[1:] if "submissions of one" not in line)
    level = best_level()
    assert rows["Ada Lovelace"] == "3" and rows["wrong"] == "0" and rows["untouched"] == "0"
    assert rows["'=1+2"] == rows["'＝1"] == "0" and rows["Юлія 😀"] == "0"
    assert all(level in line for line in text.splitlines()[1:])
    for name, words in [("absolute", "leads out"), ("climbing", "leads out"), ("link", "is a link"),
                        ("bomb", "zip bomb"), ("empty", "no exercise.py"), ("broken", "no readable zip"),
                        ("linked", "is a link"), ("zipped", "2 submissions of one student")]:  # fmt: skip
        (line,) = [line for line in text.splitlines() if line.startswith(name + ",")]
        assert words in line and ",0,3," in line
    told = capsys.readouterr().out
    assert "isolation: " + level in told and "leads out" in told
    assert "6 submissions graded, 1 with all 3 points; 8 refused" in told
    assert "notes.txt: neither a folder nor a zip" in told and "notes" not in text
    pages = {name: read(f"out/feedback/{name}") for name in os.listdir("out/feedback")}
    assert len(pages) == len(text.splitlines()) - 1
    assert all("isolation: " in page and "\x1b" not in page for page in pages.values())
    assert any("without subtracting the maximum" in page for page in pages.values())
    assert any("SyntaxError" in page and "blocked" in page for page in pages.values())
    assert not any("SyntaxError" in page and "Hint" in page for page in pages.values())  # of no use there
    assert any("tinyllm check 4" in page for page in pages.values())


def names_of(tmp_path, *students):
    """The names by which folders that are called so are known, and what is wrong with each."""
    for student in students:
        (tmp_path / student / LESSON.folder).mkdir(parents=True)
        (tmp_path / student / LESSON.folder / "exercise.py").write_text("x = 1\n")
    return {found.student: found.problem for found in collect(tmp_path, [LESSON])}


def test_names_are_kept_as_people_write_them(tmp_path):
    joined = ["فاطمه\u200cزهرا", "\U0001f469\u200d\U0001f680 Astro"]  # joiners that spelling needs
    assert names_of(tmp_path, *joined) == dict.fromkeys(joined, "")


def test_a_name_that_turns_the_line_around_does_not(tmp_path):
    assert list(names_of(tmp_path, "evil\u202egnp.exe")) == ["evil\N{REPLACEMENT CHARACTER}gnp.exe"]


def test_two_long_names_are_two_students(tmp_path):
    found = names_of(tmp_path, "x" * 250 + "a", "x" * 250 + "b")
    assert len(found) == 2 and not any(found.values())


def test_two_spellings_of_one_accent_are_one_student(tmp_path):
    (problem,) = names_of(tmp_path, "Zo\u00eb", "Zoe\u0308").values()
    assert "2 submissions of one student" in problem


def test_names_that_differ_in_case_are_both_refused(tmp_path):
    """Neither vanishes from grades.csv, whoever of them came later."""
    found = names_of(tmp_path, "HONEST", "honest")
    assert sorted(found) == ["HONEST", "honest"] and all("2 submissions" in why for why in found.values())


def test_a_zip_with_backslashes_is_read(tmp_path):
    """Older tools on Windows write paths so."""
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr(f"work\\{LESSON.folder}\\exercise.py", "x = 1\n")
        archive.writestr("work\\__MACOSX\\notes.py", "")
    (found,) = collect(tmp_path, [LESSON])
    assert list(found.files) == [(LESSON.folder, "exercise.py")] and not found.problem


def test_a_zip_without_an_exercise_says_what_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "n.zip", "w") as archive:
        archive.writestr(f"{LESSON.folder}/exercise.ipynb", "{}")
        archive.writestr(f"{LESSON.folder}/Exercise.py", "x = 1\n")
    (found,) = collect(tmp_path, [LESSON])
    assert "exercise.py" in found.problem and not found.files


def test_json_report_and_exports(course, capsys):
    capsys.readouterr()
    os.makedirs("subs/wrong/.tinyllm")
    with open("subs/wrong/.tinyllm/progress.json", "w") as f:
        json.dump({"tasks": {"4/softmax": {"solution": True}}}, f)
    os.makedirs("subs/empty")
    Path("subs/roster.csv").write_text("Ada,Bob\n")
    grade("--json")
    results = json.loads(capsys.readouterr().out)
    assert results["left_out"] == ["roster.csv"] and "roster" not in read("out/grades.csv")
    task = next(r for r in results["submissions"] if r["student"] == "wrong")["lessons"][0]["tasks"][0]
    assert task["task"] == "softmax" and task["state"] == "failed" and "maximum" in task["mistake"]
    assert {"properties_held", "properties", "hint", "smallest_input"} <= task.keys()
    assert main(["course", "report", "out"]) == 0
    told = capsys.readouterr().out
    assert "without subtracting the maximum" in told and "wrong: lesson 4, softmax" in told
    assert "7 submissions, 6 graded" in told and "roster.csv: neither a folder nor a zip" in told
    assert "isolation: " in told and all(len(line) <= 80 for line in told.splitlines())
    assert main(["course", "export", "canvas", "out", "--out", "canvas.csv"]) == 0
    assert "Points Possible,,,,,3" in read("canvas.csv")
    assert main(["course", "export", "junit", "out", "--out", "junit.xml"]) == 0
    assert len(ElementTree.parse("junit.xml").findall(".//testcase")) == 14
    assert main(["course", "export", "gradescope-results", "out", "--out", "r.json"]) == 2


def test_a_release_holds_stubs_only(course, capsys):
    assert main(["course", "release", "handout"]) == 0
    names = [os.path.join(here, name) for here, _, names in os.walk("handout") for name in names]
    assert sorted(os.path.basename(name) for name in names) == ["README.md", "exercise.py", "lesson.py"]
    assert not any("seed" in read(name) for name in names if name.endswith(".md"))
    assert "pip install" not in read("handout/README.md")  # a registry may know the name for something else
    assert main(["course", "release", "handout"]) == 2  # never over another


def source(text):
    os.makedirs(f"mine/{LESSON.folder}", exist_ok=True)
    with open(f"mine/{LESSON.folder}/exercise.py", "w", encoding="utf-8") as f:
        f.write(text)


STUB = "def softmax_backward(dy, y):\n    raise NotImplementedError\n\n\ndef softmax(x):\n"


def test_solutions_between_markers_are_taken_out(course):
    body = solved(LESSON.task("softmax")).partition("def softmax(x):\n")[2]
    source(STUB + "    # BEGIN SOLUTION\n" + body + "\n    # END SOLUTION\n")
    assert main(["course", "release", "handout", "--from", "mine"]) == 0
    assert read(f"handout/{LESSON.folder}/exercise.py") == STUB + "    raise NotImplementedError\n"


@pytest.mark.parametrize("text, words", [
    (STUB + "    # BEGIN SOLUTION\n    pass\n", "never ended"),
    (STUB + "    pass\n    # END SOLUTION\n", "ends nothing"),
    (STUB + "    # BEGIN SOLUTION\n    # BEGIN SOLUTION\n    # END SOLUTION\n", "begins again"),
    (STUB + "    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION\n", "malformed"),
    (STUB + "    # begin solution\n    pass\n    # END SOLUTION\n", "malformed"),
    (STUB + "    return x\n", "more than a stub"),
    (STUB + "    raise NotImplementedError\n# e = exp(subtract(x, peak))\nx = x - peak[\n", "exercise.py:"),
    ("def softmax(x):\n    raise NotImplementedError\n", "no function softmax_backward"),
])  # fmt: skip
def test_a_release_that_would_leak_is_refused(course, capsys, text, words):
    source(text)
    assert main(["course", "release", "handout", "--from", "mine"]) == 2
    assert words in capsys.readouterr().err and not os.path.exists("handout")


def test_a_line_of_a_solution_in_a_comment_is_found(course, capsys):
    body = solved(LESSON.task("softmax")).partition("def softmax(x):\n")[2]
    line = next(line.strip() for line in body.splitlines() if "np." in line and len(line.strip()) > 30)
    source(STUB + "    raise NotImplementedError\n\n# " + line + "\n")
    assert main(["course", "release", "handout", "--from", "mine"]) == 2
    assert "a line of the solution of softmax" in capsys.readouterr().err


def test_text_without_markers_is_left_alone():
    assert stubs("# the solution begins at\nx = 1\n", "f") == "# the solution begins at\nx = 1\n"


def test_init_writes_a_course_that_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["course", "init"]) == 0
    first = read("course.toml")
    told = capsys.readouterr().out + first
    assert main(["course", "init"]) == 2 and read("course.toml") == first
    assert main(["course", "release", "handout"]) == 0
    told += capsys.readouterr().out
    assert [line for line in told.splitlines() if len(line) > 80] == []
    found = load_course("course.toml")
    assert len(found.parts) >= 10 and found.variant("a") == load_course("course.toml").variant("a")
    assert len({found.variant(str(i)) for i in range(100)}) == found.variants


@pytest.mark.parametrize("text, words", [
    ("", "names no lessons"), ("[[lesson]]\nnumber = 99\n", "no lesson 99"), ("x = [", "TOML"),
    ("[[lesson]]\nnumber = 4\npoints = { sofmax = 1 }\n", "no task 'sofmax'"),
    ("[[lesson]]\nnumber = 4\npoints = { softmax = -1 }\n", "points"), ("sede = 1\n", "no setting 'sede'"),
    ("[[lesson]]\nnumber = 4\n[[lesson]]\nnumber = 4\n", "twice"),
    ("seed = 'x'\n[[lesson]]\nnumber = 4", "seed"), ("[[lesson]]\npoints = {}\n", "needs a number"),
    ("variants = 0\n[[lesson]]\nnumber = 4", "variants must be 1 or more"),
    ("[[lesson]]\nnumber = 4\n", "add this line at its top, and keep the file to yourself: seed = "),
])  # fmt: skip
def test_a_bad_course_file_is_one_line(tmp_path, monkeypatch, capsys, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").write_text(text)
    (tmp_path / "subs").mkdir()
    assert main(["course", "grade", "subs", "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not os.path.exists("out")


@pytest.mark.parametrize("command", ["init", "release", "grade", "report", "export", "selftest"])
def test_help_takes_eighty_columns(monkeypatch, capsys, command):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["course", command, "--help"])
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_course_alone_shows_its_own_commands(capsys):
    assert main(["course"]) == 0
    assert "release" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [
    ["grade", "nowhere", "--out", "out"], ["grade", ".", "--out", "out", "--workers", "0"],
    ["report", "nowhere"],
    ["export", "canvas", "nowhere", "--out", "x"], ["export", "canvas", "--out", "x"],
    ["export", "gradescope", "--out", "x"], ["grade", ".", "--out", "o", "--isolation", "bubbles"],
])  # fmt: skip
def test_bad_arguments_are_one_line(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(["course", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1
