"""Write what an instructor gives away: a release for students, and an autograder for Gradescope.

A release has the lessons of the library; a test scans them for lines of solutions. In a checkout somebody may
have solved an exercise in place, so nothing is written unless every exercise is a stub.
"""

import io
import re
import zipfile
from pathlib import Path

from tinyllm.course.classroom.config import COURSE_FILE, Course
from tinyllm.course.kernels import has_body
from tinyllm.course.plugins import attempted
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_bytes, atomic_write_text, read_bytes, read_text
from tinyllm.version import WHEEL, __version__

README = f"""Install tinyllm {__version__} from the file or link that your instructor gave you, for example
with `python -m pip install '{WHEEL}-{__version__}.tar.gz[course]'`. Do not use `pip install
tinyllm`: it installs another project of that name.

LESSONS

Step through a lesson with `python FOLDER/lesson.py`, fill in its exercise file, and see how it
does with `tinyllm check NUMBER FOLDER/exercise.py`. Hand in the folders, in a folder or a zip that has
your name.
"""


def write_release(course: Course, out: str | Path) -> list[Path]:
    """Write a release into a new folder, and return its paths. Raises UserError before it writes anything."""
    if Path(out).exists():
        raise UserError(f"{out} is there already; a release goes into a new folder")
    texts = {(lesson.folder, name): text for lesson in course.lessons for name, text in lesson.files.items()}
    require_stubs(course, texts)
    texts["", "README.md"] = readme(course)
    for (folder, name), text in texts.items():
        Path(out, folder).mkdir(parents=True, exist_ok=True)
        atomic_write_text(Path(out, folder, name), text)
    return [Path(out, folder, name) for folder, name in texts]


def require_stubs(course: Course, texts: dict[tuple[str, str], str]) -> None:
    """Raise UserError if an exercise is not a stub. texts: {(lesson's folder, file name): text}."""
    for part in course.parts:
        written = attempted(texts[part.lesson.folder, "exercise.py"], "", part.lesson.path / "exercise.py")
        for task in map(part.lesson.task, part.points):
            in_c = task.kind == "c" and has_body(texts[part.lesson.folder, "exercise.c"], task.op)
            if in_c or task.name in written or (task.kind == "run" and written):
                raise UserError(f"{part.lesson.path}: {task.name} is more than a stub")


def readme(course: Course) -> str:
    """Return the README of a release as Markdown, with the lessons and their due dates."""
    lines = []
    for part in course.parts:
        worth = sum(part.points.values())
        due = f", due {part.due}" if part.due else ""
        checked = ", checked when you hand it in" if part.lesson.home else ""
        lines.append(f"* `{part.lesson.folder}/{part.lesson.exercise}`: {part.lesson.title} "
                     f"({worth:g} point{'s' * (worth != 1)}{due}{checked})")
    return f"# {course.title}\n\n{README}".replace("LESSONS", "\n".join(lines))


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
