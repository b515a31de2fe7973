"""Check the packages that run our grader on other systems, and results in the forms that they read."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tinyllm.cli import main
from tinyllm.course.classroom.config import load_course
from tinyllm.course.classroom.export import with_solution_marks
from tinyllm.course.classroom.notebook import check_cell
from tinyllm.course.reference_solution import solved
from tinyllm.course.syllabus import find_lesson
from tinyllm.errors import UserError

LESSON = find_lesson(4)
SEED = 190417283
COURSE = f"""title = 'Models, "large" and small'
seed = {SEED}
variants = 3
[[lesson]]
number = 4
points = {{ softmax = 2, softmax_backward = 1.5 }}
[[lesson]]
number = 10
"""
WHEEL = "tinyllm_lab-0.1.0-py3-none-any.whl"


@pytest.fixture
def course(here):
    """A folder with a course file and something that is named as a wheel."""
    (here / "course.toml").write_text(COURSE)
    (here / WHEEL).write_bytes(b"wheel")
    return here


def exported(kind, *more):
    assert main(["course", "export", kind, "--out", f"{kind}.zip", "--package", WHEEL, *more]) == 0
    with zipfile.ZipFile(f"{kind}.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_students_can_look_into_holds_no_seed(course):
    files = exported("classroom50")
    assert sorted(files) == ["autograder.py", "course.toml", WHEEL]
    assert not any(str(SEED).encode() in data for data in files.values())
    Path("public.toml").write_bytes(files["course.toml"])
    with pytest.raises(UserError, match="no secret seed"):  # each run draws one
        load_course("public.toml")
    Path("public.toml").write_bytes(b"seed = 1\n" + files["course.toml"])
    public, own = load_course("public.toml"), load_course("course.toml")
    assert (public.title, public.parts) == (own.title, own.parts) and public.seed == 1
    assert main(["course", "export", "nbgrader", "--out", "nb"]) == 0
    assert main(["course", "release", "handout"]) == 0
    texts = [path.read_text("utf-8") for top in ("nb", "handout") for path in Path(top).rglob("*.*")]
    assert texts and not any(str(SEED) in text for text in texts)


@pytest.mark.parametrize("kind", ["gradescope", "classroom50"])
def test_a_package_is_installed_from_its_file_and_from_no_registry(course, capsys, kind):
    files = exported(kind)
    assert files[WHEEL] == b"wheel"
    script = files["setup.sh" if kind == "gradescope" else "autograder.py"].decode()
    installs = [line for line in script.splitlines() if "install" in line and "pip" in line]
    assert len(installs) == 1 and WHEEL in installs[0]
    for package in ([], ["--package", "nowhere/" + WHEEL], ["--package", "course.toml"]):
        assert main(["course", "export", kind, "--out", "none.zip", *package]) == 2
        assert capsys.readouterr().err.count("\n") == 1 and not Path("none.zip").exists()


def test_gradescopes_scripts_are_bash(course):
    files = exported("gradescope")
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n"], input=files[name], check=True).returncode == 0


def test_the_autograder_of_a_classroom_runs_nothing_of_the_student(course):
    """Modules named as ours lie in the checkout; pip is asked for nothing, since the wheel is none."""
    checkout, bundle = course / "checkout", course / "bundle"
    (checkout / LESSON.folder).mkdir(parents=True)
    bundle.mkdir()
    (checkout / LESSON.folder / "exercise.py").write_text((LESSON.path / "exercise.py").read_text("utf-8"))
    for name in ("tinyllm", "numpy", "json", "pip"):
        (checkout / f"{name}.py").write_text("open('stolen', 'w')\nraise SystemExit(0)\n")
    for name, data in exported("classroom50").items():
        (bundle / name).write_bytes(data)
    script = (bundle / "autograder.py").read_text("utf-8")
    (bundle / "autograder.py").write_text(script.replace('"pip", "install", "--quiet"', '"base64", "-t"'))
    here = str(Path(__file__).parents[2])
    names = {"CLASSROOM": "cs", "ASSIGNMENT": "four", "SUBMISSION_TAG": "submit/1", "RELEASE_URL": "https://r",
             "COMMIT_URL": "https://c", "PYTHONPATH": here}  # fmt: skip
    command = [sys.executable, str(bundle / "autograder.py")]
    subprocess.run(command, cwd=checkout, env=os.environ | names, check=True, capture_output=True)
    assert not list(course.rglob("stolen"))
    result = json.loads((checkout / "result.json").read_text("utf-8"))
    assert result["schema"] == "classroom50/result/v1" and result["review"] == "https://c"
    assert (result["score"], result["max-score"]) == (0, 5.5) and isinstance(result["score"], int)
    first = {"test-name": "4/softmax", "passed": False, "score": 0, "max-score": 2}
    assert result["tests"][0] == first and isinstance(first["max-score"], int)
    assert result["datetime"].endswith("Z") and len(result["datetime"]) == 20


def test_notebooks_keep_their_stubs_where_nbgrader_empties_solutions(course, capsys):
    assert main(["course", "export", "nbgrader", "--out", "nb"]) == 0
    assert [path.parent.name for path in Path("nb/source").rglob("*.ipynb")] == [LESSON.folder]
    assert "10" in capsys.readouterr().out  # the lesson that no notebook can grade is named
    notebook = json.loads(Path(f"nb/source/{LESSON.folder}/exercise.ipynb").read_text("utf-8"))
    (cell,) = [x for x in notebook["cells"] if x["metadata"].get("nbgrader", {}).get("solution")]
    stubs = (LESSON.path / "exercise.py").read_text("utf-8")
    assert cell["source"].count("### BEGIN SOLUTION") == stubs.count("\n    raise NotImplementedError") > 1
    marked = with_solution_marks(stubs)
    assert marked.replace("    ### BEGIN SOLUTION\n", "").replace("    ### END SOLUTION\n", "") == stubs


def test_a_cell_is_judged_by_what_was_typed_beside_it():
    """`In` holds cells as IPython runs them: magics have become calls, and an import has its own cell."""
    solution = solved(LESSON.task("softmax")).partition("def softmax")
    magic = "get_ipython().run_line_magic('matplotlib', 'inline')\n"
    cells = [magic + solution[0], "def softmax" + solution[2] + "\n" + magic, "1 / 0", "check_cell(4, '')"]
    check_cell(4, "softmax", cells)
    with pytest.raises(AssertionError, match="not attempted"):
        check_cell(4, "softmax", ["x = 1"])
    wrong = "import numpy as np\ndef softmax(x):\n    return np.exp(x) / np.exp(x).sum()\n"
    with pytest.raises(AssertionError, match=r"(?s)failed, \d of .* On this input:.*x = np.float32"):
        check_cell(4, "softmax", [wrong])
