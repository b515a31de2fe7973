"""Read the submissions of students, which are folders or zips, without trusting them.

`collect` lists all submissions. `load` reads the files of one, as those of a class may not fit in memory.

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
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tinyllm.course.syllabus import Lesson
from tinyllm.course.workers import printable
from tinyllm.course.workspace import EXERCISES, MAX_FILE
from tinyllm.errors import UserError
from tinyllm.files import open_regular

OTHERS = (".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".ipynb", ".py", ".c")  # refused with a reason
MAX_UNPACKED, MAX_ENTRIES = 2**28, 5000  # bytes of a zip, names in a folder or a zip
MAX_DEPTH = 6  # folders
MAX_DIRECTORY = 2**22  # bytes of a zip's list of contents, which zipfile reads as a whole
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # invisible, but some names are spelt with them

Files = Iterator[tuple[PurePosixPath, Callable[[], bytes]]]  # each file's path, and a function that reads it


@dataclass(frozen=True)
class Submission:
    """A student's files by lesson folder and name, or the reason why they were refused."""

    student: str
    source: Path
    problem: str = ""
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)


class Refused(Exception):
    """The error for a submission that is refused; its message is one line."""


def collect(folder: str | Path) -> tuple[list[Submission], list[str]]:
    """List the submissions in a folder, without their files, and the names of other files, such as lists.

    If a student has two submissions, ignoring case, both are refused, because nobody can know which counts.
    Raises UserError if there is no submission.
    """
    if not Path(folder).is_dir():
        raise UserError(f"there is no folder {folder} with submissions")
    by_name: dict[str, list[Submission]] = {}
    others = []
    for entry in sorted(Path(folder).iterdir(), key=lambda path: os.fsencode(path.name)):
        packed = entry.suffix.lower() in (".zip", *OTHERS) and not entry.is_dir()
        student = student_name(entry.stem.removesuffix(".tar") if packed else entry.name)
        if hidden(entry.name):
            continue
        if packed or not entry.is_file() or entry.is_symlink():
            by_name.setdefault(student.casefold(), []).append(Submission(student, entry))
        else:
            others.append(printable(entry.name, 80))
    if not by_name:
        raise UserError(f"{folder} holds no submissions: it should have a folder or a zip for each student")
    return [only(twins) for twins in by_name.values()], others


def only(twins: list[Submission]) -> Submission:
    """Return a student's only submission; if there are several, return the first, with a `problem`."""
    names = " and ".join(printable(twin.source.name, 80) for twin in twins)
    problem = f"{len(twins)} submissions of one student: {names}; keep one" if len(twins) > 1 else ""
    return replace(twins[0], problem=problem)


def load(submission: Submission, lessons: list[Lesson]) -> Submission:
    """Return a submission with the files that lessons need; if they are refused, with the reason."""
    if submission.problem:
        return submission
    try:
        return replace(submission, files=read_submission(submission.source, lessons))
    except Refused as problem:
        return replace(submission, problem=printable(problem))
    except (OSError, ValueError) as error:
        why = f"it cannot be read: {getattr(error, 'strerror', None) or error}"
        return replace(submission, problem=printable(why))


def read_submission(entry: Path, lessons: list[Lesson]) -> dict[tuple[str, str], bytes]:
    """Read one folder or zip. Raises Refused, OSError or ValueError."""
    where = f"{lessons[0].folder}/exercise.py"
    if entry.is_symlink():
        raise Refused("it is a link, not a folder or a zip")
    if entry.is_dir():
        found = needed(in_folder(entry), lessons)
    elif not entry.is_file():
        raise Refused("it is neither a folder nor a zip")
    elif entry.suffix.lower() != ".zip":
        raise Refused(f"it is a {entry.suffix.lower()} file; hand in a folder or a zip with {where}")
    else:
        try:
            with Bounded(entry) as file, zipfile.ZipFile(file) as archive:
                found = needed(in_zip(archive), lessons)
        except Refused:
            raise
        except Exception as error:  # a damaged zip can cause any error
            raise Refused(f"it is not a readable zip ({type(error).__name__})") from None
    if not found:
        raise Refused(f"it holds no exercise.py in a folder such as {lessons[0].folder}")
    return found


def needed(files: Files, lessons: list[Lesson]) -> dict[tuple[str, str], bytes]:
    """Read the files that lessons need. Raises Refused if they are too large."""
    found: dict[tuple[str, str], bytes] = {}
    for path, read in files:
        if place := destination(path, lessons):
            data = read()
            if len(data) > MAX_FILE:
                raise Refused(f"{path.name} has more than {MAX_FILE >> 20} MiB")
            if found.setdefault(place, data) != data:
                raise Refused(f"it holds two different files {place[0]}/{place[1]}; keep one")
    return found


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
    """Find the files in a folder; follow no links. Raises Refused if there are too many files."""
    seen = 0
    for here, folders, names in os.walk(root):
        parts = Path(here).relative_to(root).parts  # os.walk of a thousand nested folders would fail
        folders[:] = sorted(name for name in folders if len(parts) < MAX_DEPTH and not hidden(name))
        seen += len(names) + len(folders)
        if seen > MAX_ENTRIES:
            raise Refused(f"it holds more than {MAX_ENTRIES} files")
        for name in sorted(names):
            yield PurePosixPath(*parts, name), functools.partial(read_regular, Path(here, name))


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
        path = PurePosixPath(entry.filename.replace("\\", "/"))  # older tools on Windows write \
        if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16):
            raise Refused(f"its entry {printable(entry.filename, 60)} leads out of it")
        if not entry.is_dir():
            yield path, functools.partial(read_entry, archive, entry)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read an entry of a zip, up to one byte more than the limit; the size in its header is not trusted."""
    with archive.open(entry) as f:
        return f.read(MAX_FILE + 1)
