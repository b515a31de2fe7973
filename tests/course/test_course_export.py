"""Check the package that runs our grader on Gradescope; tables for other systems are in test_tables."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from tinyllm.cli import main

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


def autograder():
    assert main(["course", "export", "gradescope", "--out", "gradescope.zip", "--package", WHEEL]) == 0
    with zipfile.ZipFile("gradescope.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_students_can_look_into_holds_no_seed(course):
    assert main(["course", "release", "handout"]) == 0
    texts = [path.read_text("utf-8") for path in Path("handout").rglob("*.*")]
    assert texts and not any(str(SEED) in text for text in texts)


def test_a_package_is_installed_from_its_file_and_from_no_registry(course, capsys):
    files = autograder()
    assert files[WHEEL] == b"wheel" and files["course.toml"].decode() == COURSE
    script = files["setup.sh"].decode()
    installs = [line for line in script.splitlines() if "install" in line and "pip" in line]
    assert len(installs) == 1 and WHEEL in installs[0]
    for package in ([], ["--package", "nowhere/" + WHEEL], ["--package", "course.toml"]):
        assert main(["course", "export", "gradescope", "--out", "none.zip", *package]) == 2
        assert capsys.readouterr().err.count("\n") == 1 and not Path("none.zip").exists()


def test_gradescopes_scripts_are_bash(course):
    files = autograder()
    for name in ("setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n"], input=files[name], check=True).returncode == 0
