"""What other systems read: Gradescope, Classroom 50, nbgrader, Canvas, and JUnit's XML for everything else.

Two kinds: packages that make another system run our grader, and the results of a grading in its format.
"""

import io
import json
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes, atomic_write_text
from tinyllm.teach.course.release import read, stubs
from tinyllm.teach.course.results import cell, number, table, told

SETUP = """#!/usr/bin/env bash
# Gradescope runs this once, as it builds the image.
set -e
apt-get update && apt-get install -y python3 python3-venv python3-pip
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install /autograder/source/*.whl || /autograder/venv/bin/pip install tinyllm
"""
RUN = """#!/usr/bin/env bash
# Gradescope runs this for each submission.
set -e
work=$(mktemp -d)
mkdir "$work/in"
cp -r --no-dereference /autograder/submission "$work/in/student"
tinyllm=/autograder/venv/bin/tinyllm
$tinyllm course grade "$work/in" --out "$work/out" --workers 1 --course /autograder/source/course.toml
$tinyllm course export gradescope-results "$work/out" --out /autograder/results/results.json
"""
CLASSROOM = '''"""The autograder of a Classroom 50 assignment: runs in a checkout and writes result.json."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
with tempfile.TemporaryDirectory() as work:
    ignore = shutil.ignore_patterns(".git")
    shutil.copytree(".", f"{work}/in/student", symlinks=True, ignore=ignore)
    grade = [sys.executable, "-P", "-m", "tinyllm", "course", "grade", f"{work}/in", "--out", f"{work}/out"]
    grade += ["--workers", "1", "--course", str(here / "course.toml")]
    subprocess.run(grade, cwd=work, check=True)  # and -P: a tinyllm.py of the student's is not our module
    record = json.loads(pathlib.Path(work, "out", "results.json").read_text())["submissions"][0]

tests = [
    {"name": f"{lesson['lesson']}/{task['task']}", "passed": task["state"] == "passed",
     "score": task["points"], "max-score": task["of"]}
    for lesson in record["lessons"] for task in lesson["tasks"]
]
result = {
    "schema": "classroom50/result/v1", "classroom": os.environ.get("CLASSROOM", ""),
    "assignment": os.environ.get("ASSIGNMENT", ""), "submission": os.environ.get("SUBMISSION_TAG", ""),
    "commit": os.environ.get("COMMIT_URL", ""), "release": os.environ.get("RELEASE_URL", ""),
    "score": record["points"], "max-score": record["of"], "tests": tests,
}
pathlib.Path("result.json").write_text(json.dumps(result, indent=2) + "\\n")
'''


def pack(files):
    """A zip of texts by name, the same bytes each time; scripts may be run -> bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if text.startswith("#!") else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return buffer.getvalue()


def course_text(path):
    """The text of the course file, which a package needs. Raises UserError."""
    if not Path(path).is_file():
        raise UserError(f"there is no {path} to pack; `tinyllm course init` writes one")
    return read(Path(path))


def gradescope(course, out, path):
    """The zip to upload as an autograder; add a wheel of tinyllm to it where the network is closed."""
    files = {"setup.sh": SETUP, "run_autograder": RUN, "course.toml": course_text(path)}
    atomic_write_bytes(out, pack(files))


def classroom50(course, out, path):
    """The folder autograders/ASSIGNMENT as a zip: autograder.py and the course file."""
    atomic_write_bytes(out, pack({"autograder.py": CLASSROOM, "course.toml": course_text(path)}))


def nbgrader(course, out, path):
    """A folder `source/` with a notebook for each lesson: a cell for each stub, and one that checks it."""
    for part in course.parts:
        exercise = part.lesson.path / "exercise.py"
        notebook = {"cells": list(notebook_cells(part, stubs(read(exercise), exercise))), "metadata": {},
                    "nbformat": 4, "nbformat_minor": 5}  # fmt: skip
        folder = Path(out) / "source" / part.lesson.folder
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        atomic_write_text(folder / "exercise.ipynb", text)


def notebook_cells(part, text):
    """The exercise as one cell to fill in, then for each task one that gives points."""
    number = part.lesson.number
    intro = f"# {number}. {part.lesson.title}\n\nFill in the functions. The cells below check them."
    yield _cell("markdown", f"lesson-{number}", intro)
    yield _cell("code", f"exercise-{number}", text, {"grade": False, "solution": True, "locked": False})
    for name, points in part.points.items():
        if part.lesson.task(name).kind == "op":
            test = "from tinyllm.teach.course.notebook import check_cell\n\n"
            test += f"check_cell({number}, {name!r}, In)"
            marks = {"grade": True, "solution": False, "locked": True, "points": points}
            yield _cell("code", f"check-{number}-{name.replace('_', '-')}", test, marks)


def _cell(kind, name, text, marks=None):
    metadata = {"nbgrader": {"grade_id": name, "schema_version": 3, "task": False, **marks}} if marks else {}
    found = {"cell_type": kind, "id": name[:64], "metadata": metadata, "source": text}
    return found | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def canvas(results, out):
    """Points as Canvas imports them: one assignment, named with the points that it is worth."""
    submissions = results["submissions"]
    of = number(submissions[0]["of"]) if submissions else "0"
    rows = [["Student", "ID", "SIS Login ID", "Section", results["course"]]]
    rows.append(["Points Possible", "", "", "", of])
    rows += [[cell(r["student"]), "", cell(r["student"]), "", number(r["points"])] for r in submissions]
    atomic_write_text(out, table(rows))


def junit(results, out):
    """One test suite for each student, one test case for each task."""
    root = ElementTree.Element("testsuites", name=results["course"])
    for record in results["submissions"]:
        suite = ElementTree.SubElement(root, "testsuite", name=record["student"])
        for lesson in record["lessons"]:
            for task in lesson["tasks"]:
                case = {"classname": f"lesson_{lesson['lesson']:02}", "name": task["task"]}
                node = ElementTree.SubElement(suite, "testcase", case)
                if task["state"] == "not_attempted":
                    ElementTree.SubElement(node, "skipped", message=record["problem"] or "not attempted")
                elif task["state"] != "passed":
                    kind = "failure" if task["state"] == "failed" else "error"
                    told_so = task["mistake"] or task["message"] or task["state"]
                    ElementTree.SubElement(node, kind, type=task["state"], message=told_so)
        ElementTree.SubElement(suite, "system-out").text = results["note"]
    atomic_write_bytes(out, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def gradescope_results(results, out):
    """The results.json of Gradescope for one submission."""
    if len(results["submissions"]) != 1:
        raise UserError(f"Gradescope wants one submission at a time, not {len(results['submissions'])}")
    record = results["submissions"][0]
    tests = [
        {"name": f"{lesson['lesson']}/{task['task']}", "score": task["points"], "max_score": task["of"],
         "status": "passed" if task["state"] == "passed" else "failed", "output": "\n".join(told(task)),
         "output_format": "text"}
        for lesson in record["lessons"] for task in lesson["tasks"]
    ]  # fmt: skip
    page = {"score": record["points"], "output": record["problem"] or results["note"], "tests": tests}
    atomic_write_text(out, json.dumps(page, indent=1) + "\n")


EXPORTERS = {"gradescope": gradescope, "classroom50": classroom50, "nbgrader": nbgrader}
RESULT_EXPORTERS = {"canvas": canvas, "junit": junit, "gradescope-results": gradescope_results}
