"""Read the submissions of students, without trusting them: folders, zips, and downloads of Moodle and Canvas.

`collect` lists all submissions. `load` reads the files of one, as those of a class may not fit in memory.

A zip is never unpacked to the paths in it: only the files that a lesson asks for are read into memory, each
up to a limit.
"""

import functools
import io
import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tinyllm.course.syllabus import CODE, Lesson, syllabus
from tinyllm.course.workers import printable
from tinyllm.course.workspace import EXERCISES, MAX_FILE
from tinyllm.errors import UserError
from tinyllm.files import open_regular, read_stream

OTHERS = (".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".ipynb")  # refused with a reason
MAX_UNPACKED, MAX_ENTRIES = 2**28, 5000  # bytes of a zip, names in a folder or a zip
MAX_PACKED, MAX_ZIPS = 2**26, 8  # bytes of a zip, zips of a student
MAX_DEPTH = 6  # folders
MAX_DIRECTORY = 2**22  # bytes of a zip's list of contents, which zipfile reads as a whole
open_here = functools.partial(open_regular, follow=False)  # raises UserError for a link or a pipe
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # invisible, but some names are spelt with them
# A name in a download of Moodle or Canvas: student, number, in Canvas the number of the file, and its name.
DOWNLOAD = re.compile(r"(.+?)(?:_LATE)?_(\d+)_(?:assignsubmission_[a-z]+_?|(\d{3,})_(?=.))(.*)", re.DOTALL)

Place = tuple[str, str]  # folder of a lesson, name of a file
Files = Iterator[tuple[PurePosixPath, Callable[[int], bytes]]]  # each path, and what reads at most N bytes


@dataclass(frozen=True)
class Submission:
    """A student's files by lesson folder and name, or the reason why they were refused.

    sources: the paths of folders and files.
    near: {lesson folder: what was handed in under another name}, where the lesson's file is missing.
    """

    student: str
    sources: tuple[Path, ...] = ()
    problem: str = ""
    files: dict[Place, bytes] = field(default_factory=dict)
    near: dict[str, str] = field(default_factory=dict)


def collect(folder: str | Path, roster: Mapping[str, str]) -> tuple[list[Submission], list[str]]:
    """List the submissions in a folder, without their files, and the names of other files, such as lists.

    If a student has two submissions, ignoring case, both are refused, because nobody can know which counts.
    But a download may give several files of one student. Raises UserError if there is no submission.

    roster: see `students.identities`.
    """
    if not Path(folder).is_dir():
        raise UserError(f"there is no folder {folder} with submissions; unpack a download first")
    by_name: dict[str, list[tuple[str, str, Path]]] = {}
    others = []
    for entry in sorted(Path(folder).iterdir(), key=lambda path: os.fsencode(path.name)):
        packed = entry.suffix.lower() in (".zip", *OTHERS, *CODE) and not entry.is_dir()
        name = student_name(entry.stem.removesuffix(".tar") if packed else entry.name)
        if hidden(entry.name):
            continue
        if packed or not entry.is_file() or entry.is_symlink():
            student, number = owner(name, roster)
            by_name.setdefault(student.casefold(), []).append((student, number or entry.name, entry))
        else:
            others.append(printable(entry.name, 80))
    if not by_name:
        raise UserError(f"{folder} holds no submissions: it should have a folder or a zip for each student")
    return [only(*zip(*twins, strict=True)) for twins in by_name.values()], others


def owner(name: str, roster: Mapping[str, str]) -> tuple[str, str]:
    """Return the student whose folder or file has a name, and their number in a download, or ""."""
    found = DOWNLOAD.fullmatch(name)
    called, number = (found[1], found[2]) if found else (name, "")
    by_id = roster.get(f"id {number}") if found and found[3] else None  # the number of Moodle is in no roster
    return by_id or roster.get(called.casefold(), called), number


def only(students: Sequence[str], numbers: Sequence[str], paths: tuple[Path, ...]) -> Submission:
    """Return a student's only submission: paths with the same number. For several, it has a `problem`."""
    names = " and ".join(printable(path.name, 80) for path in paths)
    problem = f"{len(paths)} submissions of one student: {names}; keep one" if len({*numbers}) > 1 else ""
    return Submission(students[0], paths, problem)


def load(submission: Submission, lessons: list[Lesson]) -> Submission:
    """Return a submission with the files that lessons need; if they are refused, with the reason."""
    if submission.problem or submission.files:
        return submission
    try:
        files, near = read_submission(submission.sources, lessons)
        return replace(submission, files=files, near=near)
    except Exception as error:  # a damaged zip can cause any error
        why = error if isinstance(error, UserError) else f"it cannot be read: {type(error).__name__}, {error}"
        return replace(submission, problem=printable(why))


def read_submission(sources: Sequence[Path], lessons: list[Lesson]) -> tuple[dict, dict[str, str]]:
    """Read the files of a student -> (files, near), as in a Submission. Raises UserError and other errors."""
    found, rest = needed(sources, lessons, destination)
    if not found:  # perhaps files were handed in without their folders
        found, _ = needed(sources, lessons, guess)
    near = {lesson.folder: f"{printable(path.name, 80)} is there, {lesson.exercise} is not"
            for lesson in lessons if (lesson.folder, lesson.exercise) not in found
            for path in rest if len(lessons) == 1 or path.parent.name == lesson.folder}
    if not found:
        lesson = next((each for each in lessons if each.folder in near), lessons[0])
        name = lesson.exercise
        why = f"there is no {name} in it; hand in a folder or a zip with {lesson.folder}/{name}"
        raise UserError("; ".join([why, *near.values()]))
    return found, near


def needed(sources: Sequence[Path], lessons: list[Lesson], place_of: Callable[..., Place | None]
           ) -> tuple[dict[Place, bytes], list[PurePosixPath]]:
    """Read the files that lessons need; return them, and the paths of other code.

    place_of: called with a path, the lessons, and what reads the file; returns the file's place in a course.
    Raises UserError if files are too large, or if two are different.
    """
    found: dict[Place, bytes] = {}
    rest: list[PurePosixPath] = []
    for path, read in (pair for source in sources for pair in files_of(source)):
        if any(map(hidden, path.parts)) or path.suffix not in CODE or path.name == "lesson.py":
            continue
        if not (place := place_of(path, lessons, read)):
            rest.append(path)
        elif found.setdefault(place, data := read(MAX_FILE)) != data:
            raise UserError(f"it holds two different files {'/'.join(place)}; keep one")
    return found, rest


def student_name(name: str) -> str:
    """Return a student's name in Unicode normal form, so that equal names have equal characters."""
    text = unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))
    return printable(text, keep=JOINERS).strip(JOINERS) or "?"


def destination(path: PurePosixPath, lessons: list[Lesson], read: Any) -> Place | None:
    """Return the place of a file that its path in a submission says, or None if it is not needed."""
    folder = path.parent.name
    if len(lessons) == 1 and folder not in {lesson.folder for lesson in syllabus()}:
        folder = lessons[0].folder  # a course of one lesson needs no folders
    known = path.name in EXERCISES and folder in {lesson.folder for lesson in lessons}
    return (folder, path.name) if known else None


def guess(path: PurePosixPath, lessons: list[Lesson], read: Callable[[int], bytes]) -> Place | None:
    """Return the place of a file without its folder: the lesson most of whose functions it defines."""
    if len(path.parts) > 3 or path.parent.name in {lesson.folder for lesson in lessons}:
        return None
    defined = re.findall(r"\b(?:def|void)\s+(\w+)", read(MAX_FILE).decode("utf-8", "replace"))
    count = {lesson.folder: len({task.op if task.kind == "c" else task.name for task in lesson.tasks}
                                & {*defined})
             for lesson in lessons if lesson.exercise.endswith(path.suffix)}
    best = [folder for folder in count if count[folder] == max(count.values()) > 0]
    return (best[0], f"exercise{path.suffix}") if len(best) == 1 else None


def hidden(name: str) -> bool:
    """Return True if the name of a file or folder shows that it is not part of a student's work."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__")


def files_of(source: Path) -> Files:
    """Find a student's files in a folder, a zip or a file, and in zips there. Raises UserError for others."""
    if source.is_symlink() or not (source.is_dir() or source.is_file()):
        raise UserError("it is a link or a device, not a folder or a zip")
    alone = PurePosixPath(source.name), functools.partial(read_one, open_here, source, source.name)
    zips = 0
    for path, read in in_folder(source) if source.is_dir() else [alone]:
        if path.suffix.lower() != ".zip" or len(path.parts) > 2 or hidden(path.name):
            yield path, read
            continue
        zips += 1
        if zips > MAX_ZIPS:
            raise UserError(f"it holds more than {MAX_ZIPS} zips")
        for inner, read_inner in in_zip(read(MAX_PACKED)):
            yield path.with_suffix("") / inner, read_inner


def in_folder(root: Path) -> Files:
    """Find the files in a folder; follow no links. Raises UserError if there are too many files."""
    seen = 0
    for here, folders, names in os.walk(root):
        parts = Path(here).relative_to(root).parts  # os.walk of a thousand nested folders would fail
        folders[:] = sorted(name for name in folders if len(parts) < MAX_DEPTH and not hidden(name))
        seen += len(names) + len(folders)
        if seen > MAX_ENTRIES:
            raise UserError(f"it holds more than {MAX_ENTRIES} files")
        for name in sorted(names):
            yield PurePosixPath(*parts, name), functools.partial(read_one, open_here, Path(here, name), name)


def read_one(opened: Callable[..., Any], file: Any, name: str, most: int) -> bytes:
    """Read a file of at most `most` bytes; the size in the header of a zip is not trusted."""
    with opened(file) as f:
        return read_stream(f, name, most)


class Bounded(io.BytesIO):
    """Bytes that raise UserError if a malicious zip makes us read very many at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes. Raises UserError if this is far more than a submission needs."""
        if size is not None and size > MAX_DIRECTORY:
            raise UserError("its list of contents is far longer than that of an exercise")
        return super().read(size)


def in_zip(data: bytes) -> Files:
    """Find the files in a zip. Raises UserError if they are too many, too large, or outside."""
    with zipfile.ZipFile(Bounded(data)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for entry in entries):
            raise UserError("it is packed in an unusual way")  # zipfile unpacks bzip2 or LZMA without a limit
        if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED:
            raise UserError("it unpacks to far more than an exercise: a zip bomb")
        for entry in entries:
            path = PurePosixPath(entry.filename.replace("\\", "/"))  # older tools on Windows write \
            if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(entry.external_attr >> 16):
                raise UserError(f"its entry {printable(entry.filename, 60)} leads out of it")
            if not entry.is_dir() and path.parts:
                yield path, functools.partial(read_one, archive.open, entry, printable(entry.filename, 60))
