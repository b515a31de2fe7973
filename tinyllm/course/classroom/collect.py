"""Read the submissions of students, which are folders or zips, without trusting them.

`collect` lists all submissions, and `load` reads the files of one: those of a whole class may not fit in
memory.

A zip is never unpacked to the paths in it: only the files that a lesson asks for are read into memory, each
up to a limit.
"""

import functools
import io
import os
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tinyllm.course.syllabus import Lesson
from tinyllm.course.workers import printable
from tinyllm.course.workspace import EXERCISES, MAX_FILE
from tinyllm.errors import UserError
from tinyllm.files import open_regular

OTHERS = (".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".ipynb", ".py", ".c")  # handed in by mistake
MAX_UNPACKED, MAX_ENTRIES = 2**28, 5000  # bytes of a zip, names in a folder or a zip
MAX_DEPTH = 6  # folders
MAX_DIRECTORY = 2**22  # bytes of a zip's list of contents, which zipfile reads as a whole
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # invisible, but some names are spelt with them

Files = Iterator[tuple[PurePosixPath, Callable[[], bytes]]]  # each file's path, and a function that reads it


@dataclass
class Submission:
    """A student's files by lesson folder and name, or the reason why they were refused."""

    student: str
    source: Path
    problem: str = ""
    files: dict = field(default_factory=dict)  # (folder of a lesson, name) -> bytes


class Refused(Exception):
    """The error for a submission that is refused; its message is one line."""


def collect(folder: str | Path) -> list[Submission]:
    """List every submission in a folder, sorted by name, without its files. Raises UserError without any.

    If a student has two submissions, ignoring case, both are refused, because nobody can know which counts.
    """
    by_name: dict[str, list[Submission]] = {}
    if not Path(folder).is_dir():
        raise UserError(f"there is no folder {folder} with submissions")
    for entry in filter(is_submission, entries(folder)):
        packed = entry.suffix.lower() in (".zip", *OTHERS) and not entry.is_dir()
        student = student_name(entry.stem.removesuffix(".tar") if packed else entry.name)
        by_name.setdefault(student.casefold(), []).append(Submission(student, entry))
    if not by_name:
        raise UserError(f"{folder} holds no submissions: it should have a folder or a zip for each student")
    kept: dict[str, Submission] = {}
    for twins in by_name.values():
        names = " and ".join(printable(twin.source.name, 80) for twin in twins)
        problem = f"{len(twins)} submissions of one student: {names}; keep one" if len(twins) > 1 else ""
        for twin in twins:
            twin.problem = problem
            kept.setdefault(twin.student, twin)
    return list(kept.values())


def load(submission: Submission, lessons: list[Lesson]) -> Submission:
    """Return a submission with the files that lessons need; if they are refused, with the reason."""
    found = Submission(submission.student, submission.source, submission.problem)
    if found.problem:
        return found
    try:
        read_submission(found, lessons)
    except Refused as problem:
        found.problem = printable(problem)
    except (OSError, ValueError) as error:
        found.problem = printable(f"it cannot be read: {getattr(error, 'strerror', None) or error}")
    if found.problem:
        found.files = {}
    return found


def read_submission(submission: Submission, lessons: list[Lesson]) -> None:
    """Read one folder or zip. Raises Refused, OSError or ValueError."""
    entry, where = submission.source, f"{lessons[0].folder}/exercise.py"
    if entry.is_symlink():
        raise Refused("it is a link, not a folder or a zip")
    if entry.is_dir():
        take(submission, lessons, in_folder(entry))
    elif not entry.is_file():
        raise Refused("it is neither a folder nor a zip")
    elif entry.suffix.lower() != ".zip":
        raise Refused(f"it is a {entry.suffix.lower()} file; hand in a folder or a zip with {where}")
    else:
        try:
            with Bounded(entry) as file, zipfile.ZipFile(file) as archive:
                take(submission, lessons, in_zip(archive))
        except Refused:
            raise
        except Exception as error:  # damaged in one of the many ways that a zip can be
            raise Refused(f"it is not a readable zip ({type(error).__name__})") from None
    if not submission.files:
        raise Refused(f"it holds no exercise.py in a folder such as {lessons[0].folder}")


def take(submission: Submission, lessons: list[Lesson], files: Files) -> None:
    """Read the files that lessons need. Raises Refused if they are too large."""
    kept = submission.files
    for path, read in files:
        if place := destination(path, lessons):
            data = read()
            if len(data) > MAX_FILE:
                raise Refused(f"{path.name} has more than {MAX_FILE >> 20} MiB")
            if kept.setdefault(place, data) != data:
                raise Refused(f"it holds two different files {place[0]}/{place[1]}; keep one")


def entries(folder: str | Path) -> list[Path]:
    """List the files and folders in a folder, except hidden ones, sorted by name."""
    found = sorted(Path(folder).iterdir(), key=lambda path: os.fsencode(path.name))
    return [path for path in found if not path.name.startswith(".") and path.name != "__MACOSX"]


def is_submission(entry: Path) -> bool:
    """Return True for a folder or an archive, False for other files, such as a list of names."""
    return not entry.is_file() or entry.is_symlink() or entry.suffix.lower() in (".zip", *OTHERS)


def left_out(folder: str | Path) -> list[str]:
    """Return the names of files in a folder that are not submissions."""
    return [printable(entry.name, 80) for entry in entries(folder) if not is_submission(entry)]


def student_name(name: str) -> str:
    """Return a student's name in Unicode normal form, so that equal names have equal characters."""
    text = " ".join(unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace")).split())
    kept = (c if c.isprintable() or c in JOINERS else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept).strip(JOINERS) or "?"


def destination(path: PurePosixPath, lessons: list[Lesson]) -> tuple[str, str] | None:
    """Return (lesson folder, name) for the path of a file in a submission, or None if it is not needed."""
    if path.name not in EXERCISES or len(path.parts) > MAX_DEPTH or any(map(hidden, path.parts)):
        return None
    if path.parent.name in {lesson.folder for lesson in lessons}:
        return path.parent.name, path.name
    alone = len(lessons) == 1 and path.name == "exercise.py"  # a course of one lesson needs no folders
    return (lessons[0].folder, path.name) if alone else None


def hidden(name: str) -> bool:
    """Return True if the name of a file or folder shows that it is not part of a student's work."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def in_folder(root: Path) -> Files:
    """Find the files in a folder; ignore links to folders. Raises Refused if there are too many files."""
    seen = 0
    for here, folders, names in os.walk(root, followlinks=False):
        relative = PurePosixPath(*Path(here).relative_to(root).parts)
        folders[:] = sorted(name for name in folders if not hidden(name))
        if len(relative.parts) >= MAX_DEPTH:
            folders.clear()
        seen += len(names) + len(folders)
        if seen > MAX_ENTRIES:
            raise Refused(f"it holds more than {MAX_ENTRIES} files")
        for name in sorted(names):
            yield relative / name, functools.partial(read_regular, Path(here, name))


def read_regular(path: Path) -> bytes:
    """Read a regular file, up to one byte more than the limit; a link or a pipe is refused."""
    if path.is_symlink() or not path.is_file():
        raise Refused(f"{path.name} is {'a link' if path.is_symlink() else 'not a regular file'}")
    with open_regular(path, follow=False) as f:
        return f.read(MAX_FILE + 1)


class Bounded(io.FileIO):
    """A file that raises Refused if a malicious zip makes us read very many bytes at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes. Raises Refused if this is far more than a submission needs."""
        if size is not None and size > MAX_DIRECTORY:
            raise Refused("its list of contents is far longer than that of an exercise")
        return super().read(size)


def in_zip(archive: zipfile.ZipFile) -> Files:
    """Find the files in a zip. Raises Refused if they are encrypted, too many or too large."""
    entries = archive.infolist()
    if any(entry.flag_bits & 1 for entry in entries):
        raise Refused("it is encrypted")
    if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
        raise Refused("it is packed in an unusual way")  # zipfile unpacks bzip2 and LZMA without a limit
    if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise Refused("it unpacks to far more than an exercise: a zip bomb")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))  # older tools on Windows
        if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16):
            raise Refused(f"its entry {printable(entry.filename, 60)} leads out of it")
        if not entry.is_dir():
            yield path, functools.partial(read_entry, archive, entry)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read an entry of a zip, up to one byte more than the limit; the size in its header is not trusted."""
    with archive.open(entry) as f:
        return f.read(MAX_FILE + 1)
