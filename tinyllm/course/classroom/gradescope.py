"""Write the package that lets Gradescope run this grader, and results as Gradescope reads them."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from tinyllm.course.classroom.config import Course
from tinyllm.course.classroom.feedback import headline, remarks
from tinyllm.course.own_tasks import files_of
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes, read_bytes, read_text
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


def gradescope(course: Course, out: str | Path, path: str | Path, package: str | Path | None) -> None:
    """Write the zip of an autograder for Gradescope. Students never see it, so it may contain the seed."""
    name, data = read_package(package)
    here = Path(path).resolve().parent
    files: dict[str, str | bytes] = {"setup.sh": SETUP.replace("PACKAGE", name), "run_autograder": RUN,
                                     "course.toml": read_text(path), name: data}
    for home in (Path(part.lesson.home) for part in course.parts if part.lesson.home):
        if not home.is_relative_to(here):
            raise UserError(f"{home} should be in the folder of {path}, to be packed with it")
        files |= {file.relative_to(here).as_posix(): read_text(file) for file in files_of(home)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name in ("setup.sh", "run_autograder") else 0o100644) << 16
            archive.writestr(entry, content)
    atomic_write_bytes(out, buffer.getvalue())


def gradescope_results(results: dict[str, Any]) -> str:
    """Return the results of one submission as a results.json for Gradescope. Raises UserError for several."""
    if len(results["submissions"]) != 1:
        raise UserError(f"Gradescope wants one submission at a time, not {len(results['submissions'])}")
    record = results["submissions"][0]
    tests = [
        {"name": f"{lesson['lesson']}/{task['task']}", "score": task["points"], "max_score": task["of"],
         "status": "passed" if task["state"] == "passed" else "failed",
         "output": "\n".join([headline(task), *remarks(task)]), "output_format": "text"}
        for lesson in record["lessons"] for task in lesson["tasks"]
    ]
    page = {"score": record["points"], "output": record["problem"] or results["note"]}
    page |= {"output_format": "text", "tests": tests}  # text: a student's names must not be read as markup
    return json.dumps(page, indent=1) + "\n"
