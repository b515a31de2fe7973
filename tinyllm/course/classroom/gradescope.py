"""Write the package that lets Gradescope run this grader."""

import io
import re
import zipfile
from pathlib import Path

from tinyllm.course.classroom.config import COURSE_FILE, Course
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
cd /autograder/source
/autograder/venv/bin/tinyllm course grade "$work/in" --out "$work/out" --workers 1
cp "$work/out/gradescope.json" /autograder/results/results.json
"""


def autograder(course: Course, out: str | Path, package: str | Path) -> None:
    """Write the zip of an autograder for Gradescope. Students never see it, so it may contain the seed.

    package: a wheel or a source distribution of tinyllm, which the zip contains, because another project may
    be called tinyllm. Raises UserError for other files.
    """
    name, here = Path(package).name, Path.cwd().resolve()
    if not re.fullmatch(WHEEL + r"-[\w.+-]+(\.whl|\.tar\.gz)", name):
        make = "`pip wheel --no-deps FOLDER` makes one in a checkout"
        raise UserError(f"{package} is not named as a wheel or a source distribution of tinyllm; {make}")
    files: dict[str, str | bytes] = {"setup.sh": SETUP.replace("PACKAGE", name), "run_autograder": RUN,
                                     COURSE_FILE: read_text(COURSE_FILE), name: read_bytes(package)}
    for home in (Path(lesson.home) for lesson in course.lessons if lesson.home):
        if not home.is_relative_to(here):
            raise UserError(f"{home} should be in the folder of {COURSE_FILE}, to be packed with it")
        packed = [*home.glob("*.py"), *home.glob("hints.toml")]
        files |= {file.relative_to(here).as_posix(): read_text(file) for file in packed}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if name in ("setup.sh", "run_autograder") else 0o100644) << 16
            archive.writestr(entry, content)
    atomic_write_bytes(out, buffer.getvalue())
