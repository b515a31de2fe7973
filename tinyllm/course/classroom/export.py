"""Export to Gradescope, Classroom 50, nbgrader, Canvas and Moodle, and to other systems as JUnit XML.

Some exports are packages that let another system run this grader; others are results in its format.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tinyllm.course.classroom.adjust import points_of
from tinyllm.course.classroom.config import Course, Part
from tinyllm.course.classroom.feedback import headline, remark_lines
from tinyllm.course.classroom.release import stubs
from tinyllm.course.classroom.sheets import cell, number, sheet
from tinyllm.course.own_tasks import files_of
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes, atomic_write_text, read_bytes, read_text
from tinyllm.version import WHEEL

SETUP = """#!/usr/bin/env bash
# Gradescope runs this once, as it builds the image: choose one with Python 3.11, such as Ubuntu 24.04.
set -e
apt-get update && apt-get install -y python3 python3-dev python3-venv gcc
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install "/autograder/source/PACKAGE"
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
CLASSROOM = '''"""The autograder of a Classroom 50 assignment: runs in a checkout and writes result.json.

Whoever finds the address can read this folder, so its course file has no seed, and each run draws one. For
marks that count, run `tinyllm course grade` with your own course file on what you collect.
"""

import datetime
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
python = [sys.executable, "-P", "-m"]  # -P: no module is taken from the folder at hand, which is a student's
with tempfile.TemporaryDirectory() as work:
    subprocess.run([*python, "pip", "install", "--quiet", str(here / "PACKAGE")], check=True, cwd=here)
    ignore = shutil.ignore_patterns(".git")
    shutil.copytree(".", f"{work}/in/student", symlinks=True, ignore=ignore)
    course = pathlib.Path(work, "course.toml")
    seed = f"seed = {secrets.randbits(48)}\\n"
    course.write_text(seed + (here / "course.toml").read_text("utf-8"), "utf-8")
    grade = [*python, "tinyllm", "course", "grade", f"{work}/in", "--out", f"{work}/out"]
    subprocess.run([*grade, "--workers", "1", "--course", str(course)], check=True, cwd=here)
    record = json.loads(pathlib.Path(work, "out", "results.json").read_text("utf-8"))["submissions"][0]


def number(points):
    return int(points) if points == int(points) else points


tests = [
    {"test-name": f"{lesson['lesson']}/{task['task']}", "passed": task["state"] == "passed",
     "score": number(task["points"]), "max-score": number(task["of"])}
    for lesson in record["lessons"] for task in lesson["tasks"]
]
now = datetime.datetime.now(datetime.timezone.utc)
result = {
    "schema": "classroom50/result/v1", "classroom": os.environ.get("CLASSROOM", ""),
    "assignment": os.environ.get("ASSIGNMENT", ""), "submission": os.environ.get("SUBMISSION_TAG", ""),
    "commit": os.environ.get("COMMIT_URL", ""), "release": os.environ.get("RELEASE_URL", ""),
    "review": os.environ.get("REVIEW_URL") or os.environ.get("COMMIT_URL", ""),
    "datetime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "score": number(record["points"]), "max-score": number(record["of"]), "tests": tests,
}
pathlib.Path("result.json").write_text(json.dumps(result, indent=2) + "\\n")
'''


def pack(files: dict[str, str | bytes]) -> bytes:
    """Return a zip of the files {name: content}, with executable scripts. Equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            script = isinstance(text, str) and text.startswith("#!")
            entry.external_attr = (0o100755 if script else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return buffer.getvalue()


def read_package(path: str | Path | None) -> tuple[str, bytes]:
    """Return the name and the bytes of a wheel or a source distribution of tinyllm.

    Exports contain it, because another project may be called tinyllm. Raises UserError for other files.
    """
    make = "`pip wheel --no-deps FOLDER` makes one in a checkout"
    if path is None:
        raise UserError(f"this export needs --package FILE, a wheel of tinyllm to install there; {make}")
    path = Path(path)
    if not re.fullmatch(WHEEL + r"-[\w.+-]+(\.whl|\.tar\.gz)", path.name):
        raise UserError(f"{path} is not named as a wheel or a source distribution of tinyllm; {make}")
    return path.name, read_bytes(path)


def seedless(course: Course) -> str:
    """Return the text of a course file without the secret seed, for places that students can read."""
    lines = [f"title = {json.dumps(course.title, ensure_ascii=False)}"]
    lines.append(f"partial = {json.dumps(course.partial)}")
    for part in course.parts:
        points = ", ".join(f"{name} = {value}" for name, value in part.points.items())
        lines.append(f"\n[[lesson]]\nnumber = {part.lesson.number}\npoints = {{ {points} }}")
    return "\n".join([*lines, ""])


def gradescope(course: Course, out: str | Path, path: str | Path, package: str | Path | None) -> None:
    """Write the zip of an autograder for Gradescope. Students never see it, so it may contain the seed."""
    name, data = read_package(package)
    if not Path(path).is_file():
        raise UserError(f"there is no {path} to pack; `tinyllm course init` writes one")
    files: dict[str, str | bytes] = {"setup.sh": SETUP.replace("PACKAGE", name), "run_autograder": RUN}
    for home in (Path(part.lesson.home) for part in course.parts if part.lesson.home):
        if not home.is_relative_to(Path(path).resolve().parent):
            raise UserError(f"{home} should be in the folder of {path}, to be packed with it")
        for file in (*files_of(home), home / "hints.toml"):
            if file.is_file():
                files[file.relative_to(Path(path).resolve().parent).as_posix()] = read_text(file)
    atomic_write_bytes(out, pack(files | {"course.toml": read_text(path), name: data}))


def classroom50(course: Course, out: str | Path, path: str | Path, package: str | Path | None) -> None:
    """Write autograders/ASSIGNMENT as a zip: autograder.py, the package, and a course file without seed."""
    name, data = read_package(package)
    if own := [part.lesson.folder for part in course.parts if part.lesson.home]:
        raise UserError(f"students can read this export, and it would hold the answers of {', '.join(own)}")
    files: dict[str, str | bytes] = {"autograder.py": CLASSROOM.replace("PACKAGE", name)}
    atomic_write_bytes(out, pack(files | {"course.toml": seedless(course), name: data}))


def nbgrader(course: Course, out: str | Path, path: str | Path, package: str | Path | None) -> str | None:
    """Write `source/` with a notebook for each lesson: its stubs, and a checking cell for each exercise.

    Returns a sentence about lessons that are left out, or None.
    """
    parts = [part for part in course.parts if notebook_tasks(part)]
    if not parts:
        raise UserError("no exercise of this course can be graded in a notebook")
    for part in parts:
        cells = list(notebook_cells(part, stubs(part.lesson.starter, part.lesson.path / "exercise.py")))
        notebook = {"cells": cells, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}
        folder = Path(out) / "source" / part.lesson.folder
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        atomic_write_text(folder / "exercise.ipynb", text)
    left = [str(part.lesson.number) for part in course.parts if part not in parts]
    return f"left out, because no notebook can grade them: lessons {', '.join(left)}" if left else None


KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def notebook_tasks(part: Part) -> list[str]:
    """Return the names of the exercises in a lesson that can be checked in a notebook."""
    return [name for name in part.points if part.lesson.task(name).kind == "op" and not part.lesson.home]


def notebook_cells(part: Part, text: str) -> Iterator[dict[str, Any]]:
    """Yield the cells of a notebook: the stubs, then for each exercise a cell that gives points."""
    number = part.lesson.number
    intro = f"# {number}. {part.lesson.title}\n\nFill in the functions. The cells below check them."
    yield _cell("markdown", f"lesson-{number}", intro)
    marks: dict[str, Any] = {"grade": False, "solution": True, "locked": False}
    yield _cell("code", f"exercise-{number}", with_solution_marks(text), marks)
    for name in notebook_tasks(part):
        test = "from tinyllm.course.classroom.notebook import check_cell\n\n"
        test += f"check_cell({number}, {name!r}, In)"
        marks = {"grade": True, "solution": False, "locked": True, "points": part.points[name]}
        yield _cell("code", f"check-{number}-{name.replace('_', '-')}", test, marks)


def with_solution_marks(text: str) -> str:
    """Put nbgrader's marks around each stub's body; otherwise nbgrader would empty the whole cell."""
    marked = r"\1### BEGIN SOLUTION\n\1raise NotImplementedError\n\1### END SOLUTION"
    return re.sub(r"^([ \t]+)raise NotImplementedError$", marked, text, flags=re.MULTILINE)


def _cell(kind, name, text, marks=None):
    metadata = {"nbgrader": {"grade_id": name, "schema_version": 3, "task": False, **marks}} if marks else {}
    found = {"cell_type": kind, "id": name[:64], "metadata": metadata, "source": text}
    return found | ({"execution_count": None, "outputs": []} if kind == "code" else {})


CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")


def canvas(results: dict[str, Any], out: str | Path) -> str | None:
    """Write points as CSV for Canvas, as one assignment that has the name of the course.

    The roster's columns "id", "sis user id" and so on become Canvas's columns of these names; "name" becomes
    "Student". Returns a warning if students have no ID, because Canvas must then recognize their names.
    """
    submissions = results["submissions"]
    of = number(submissions[0]["of"]) if submissions else "0"
    rows = [[*CANVAS, cell(results["course"])], ["Points Possible", "", "", "", "", of]]
    for record in submissions:
        usual = {"student": record["student"], "sis login id": record["student"]}
        known = usual | {key: text for key, text in record.get("roster", {}).items() if text}
        known["student"] = known.get("name", record["student"])
        rows.append([*(cell(known.get(name.lower(), "")) for name in CANVAS), number(record["points"])])
    atomic_write_text(out, sheet(rows))
    missing = [row[0] for row in rows[2:] if not row[1]]
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    names = f"{', '.join(missing[:5])}{more}"
    return f"no ID, because the roster has no column id for them: {names}" if missing else None


def moodle(results: dict[str, Any], out: str | Path) -> None:
    """Write points and comments as CSV, with the columns that Moodle uses to export and import grades."""
    lessons = [lesson["lesson"] for lesson in (results["submissions"] or [{"lessons": []}])[0]["lessons"]]
    head = ["Username", "Full name", "ID number", "Email address", *(f"Lesson {n}" for n in lessons)]
    rows = [[*head, cell(results["course"]), "Feedback comments"]]
    for record in results["submissions"]:
        known = record.get("roster", {})
        who = [known.get("username") or record["student"], known.get("name", ""),
               known.get("id number") or known.get("id", ""),
               known.get("email address") or known.get("email", "")]  # fmt: skip
        points = [number(points_of(lesson)) for lesson in record["lessons"]]
        tasks = [task for lesson in record["lessons"] for task in lesson["tasks"]]
        told = [f"{task['task']}: {headline(task)}" for task in tasks]
        comment = cell(record["problem"] or "; ".join(told))
        rows.append([*map(cell, who), *points, number(record["points"]), comment])
    atomic_write_text(out, sheet(rows))


JUNIT = {"passed": "", "failed": "failures", "not_attempted": "skipped"}  # every other state is an error


def junit(results: dict[str, Any], out: str | Path) -> None:
    """Write results as JUnit XML: a test suite for each student, a test case for each exercise."""
    root = ElementTree.Element("testsuites", name=results["course"])
    for record in results["submissions"]:
        states = [task["state"] for lesson in record["lessons"] for task in lesson["tasks"]]
        kinds = [JUNIT.get(state, "errors") for state in states]
        counts = {kind: str(kinds.count(kind)) for kind in ("failures", "errors", "skipped")}
        about = {"name": record["student"], "tests": str(len(states))}
        suite = ElementTree.SubElement(root, "testsuite", about | counts)
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


def gradescope_results(results: dict[str, Any], out: str | Path) -> None:
    """Write the results of one submission as a results.json for Gradescope."""
    if len(results["submissions"]) != 1:
        raise UserError(f"Gradescope wants one submission at a time, not {len(results['submissions'])}")
    record = results["submissions"][0]
    tests = [
        {"name": f"{lesson['lesson']}/{task['task']}", "score": task["points"], "max_score": task["of"],
         "status": "passed" if task["state"] == "passed" else "failed",
         "output": "\n".join([headline(task), *remark_lines(task)]), "output_format": "text"}
        for lesson in record["lessons"] for task in lesson["tasks"]
    ]  # fmt: skip
    page = {"score": record["points"], "output": record["problem"] or results["note"]}
    page |= {"output_format": "text", "tests": tests}  # text: a student's names must not be read as markup
    atomic_write_text(out, json.dumps(page, indent=1) + "\n")


EXPORTERS = {"gradescope": gradescope, "classroom50": classroom50, "nbgrader": nbgrader}
RESULT_EXPORTERS = {"canvas": canvas, "moodle": moodle, "junit": junit,
                    "gradescope-results": gradescope_results}  # fmt: skip
