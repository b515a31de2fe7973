"""Read the submissions of students, folders or zips, without trusting them.

A zip is never unpacked by its own names. Its list of contents is checked as a whole (absolute and climbing
paths, links, sizes), and then only the files that a lesson asks for are read, each with a limit.
"""

import hashlib
import io
import os
import stat
import unicodedata
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tinyllm.course.syllabus import Lesson
from tinyllm.course.workers import printable

SUFFIXES = (".py", ".c", ".h", ".toml", ".json", ".jsonl", ".md", ".txt")
OTHERS = (".rar", ".7z", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".ipynb", ".py", ".c")  # handed in by mistake
MAX_FILE, MAX_TOTAL, MAX_ENTRIES = 2**21, 2**25, 5000  # bytes, bytes, names in a zip
MAX_DEPTH, MAX_FILES, MAX_NAME = 6, 200, 200  # folders, files, bytes of a file's name
MAX_DIRECTORY = 2**22  # bytes of a zip's list of contents, all of which is read before the first name is seen
PROGRESS = ".tinyllm/progress.json"
EXERCISES = ("exercise.py", "exercise.c")
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"  # unseen, but part of how some names are spelt


@dataclass
class Submission:
    """One student's files by lesson folder and name, or why there are none."""

    student: str
    source: Path
    files: dict = field(default_factory=dict)  # (folder of a lesson, name) -> bytes
    progress: bytes = b""
    problem: str = ""

    @property
    def digest(self) -> str:
        """Return a hexadecimal digest of these files."""
        parts = [f"{self.student}\0{self.problem}".encode("utf-8", "surrogateescape"), self.progress]
        parts += [f"{k!r}\0".encode("utf-8", "surrogateescape") + v for k, v in sorted(self.files.items())]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def keep(self, place: tuple[str, str], data: bytes) -> None:
        """Take one file in. Raises Refused where it is the second of its name, or too much."""
        if len(data) > MAX_FILE:
            raise Refused(f"{place[1]} has more than {MAX_FILE >> 20} MiB")
        if sum(map(len, self.files.values())) + len(data) > MAX_TOTAL or len(self.files) >= MAX_FILES:
            raise Refused("it holds too much to be an exercise")
        if self.files.setdefault(place, data) != data:
            raise Refused(f"it holds two different files {place[0]}/{place[1]}; keep one")


class Refused(Exception):
    """A submission is refused; the message is one line."""


def collect(folder: str | Path, lessons: list[Lesson]) -> list[Submission]:
    """Read every submission below a folder, in the order of their names -> list of Submission.

    Two of one student are both refused, because no program knows which one counts.
    """
    found = []
    for entry in filter(is_submission, entries(folder)):
        suffix = entry.suffix.lower()
        packed = suffix in (".zip", *OTHERS) and not entry.is_dir()
        name = entry.stem.removesuffix(".tar") if packed else entry.name
        submission = Submission(student_name(name), entry)
        try:
            read_submission(submission, suffix, lessons)
        except Refused as problem:
            submission.files, submission.problem = {}, printable(problem)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            submission.files, submission.problem = {}, printable(f"it cannot be read: {why}")
        found.append(submission)
    return refuse_twins(found)


def read_submission(submission: Submission, suffix: str, lessons: list[Lesson]) -> None:
    """Read one folder or zip. Raises Refused, OSError or ValueError."""
    entry, where = submission.source, f"{lessons[0].folder}/exercise.py"
    if entry.is_symlink():
        raise Refused("it is a link, not a folder or a zip")
    if entry.is_dir():
        read_folder(submission, lessons)
    elif not entry.is_file():
        raise Refused("it is neither a folder nor a zip")
    elif suffix == ".zip":
        read_zip(submission, lessons)
    else:
        raise Refused(f"it is a {suffix} file; hand in a folder or a zip with {where} and so on")
    if not any(name in EXERCISES for _, name in submission.files):
        raise Refused(f"it holds no exercise.py in a folder such as {lessons[0].folder}")


def entries(folder: str | Path) -> list[Path]:
    """Return what lies in a folder and is not hidden, in the order of the names -> list of paths."""
    found = sorted(Path(folder).iterdir(), key=lambda path: os.fsencode(path.name))
    return [path for path in found if not path.name.startswith(".") and path.name != "__MACOSX"]


def is_submission(entry: Path) -> bool:
    """Say if a student handed this in: a file such as a list of names may lie beside the submissions."""
    return not entry.is_file() or entry.is_symlink() or entry.suffix.lower() in (".zip", *OTHERS)


def left_out(folder: str | Path) -> list[str]:
    """Return the names of files in a folder that are not submissions."""
    return [printable(entry.name, 80) for entry in entries(folder) if not is_submission(entry)]


def student_name(name: str) -> str:
    """Return the name of a student in its one form: two ways to write an accent are one name."""
    text = " ".join(unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace")).split())
    kept = (c if c.isprintable() or c in JOINERS else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept).strip(JOINERS) or "?"


def refuse_twins(submissions: list[Submission]) -> list[Submission]:
    """Refuse submissions of one student name, whatever its case -> list with one submission for each name."""
    by_name: dict[str, list[Submission]] = {}
    for submission in submissions:
        by_name.setdefault(submission.student.casefold(), []).append(submission)
    kept: dict[str, Submission] = {}
    for twins in by_name.values():
        names = " and ".join(printable(twin.source.name, 80) for twin in twins)
        for twin in twins:
            if len(twins) > 1:
                twin.files = {}
                twin.problem = f"{len(twins)} submissions of one student: {names}; keep one"
            kept.setdefault(twin.student, twin)
    return list(kept.values())


def destination(path: PurePosixPath, lessons: list[Lesson]) -> tuple[str, str] | None:
    """Return the lesson folder and the name under which a file is kept, or None if it is not collected.

    path: the path of the file within the submission.
    """
    too_long = len(path.name.encode("utf-8", "surrogateescape")) > MAX_NAME
    if path.suffix not in SUFFIXES or len(path.parts) > MAX_DEPTH or too_long:
        return None
    folder = path.parent.name
    if folder in {lesson.folder for lesson in lessons}:
        return folder, path.name
    if len(lessons) == 1 and path.name == "exercise.py":  # a course of one lesson needs no folders
        return lessons[0].folder, path.name
    return None


def read_folder(submission: Submission, lessons: list[Lesson]) -> None:
    """Read the lesson files of a submitted folder into the submission; links are not followed."""
    root, seen = submission.source, 0
    for here, folders, names in os.walk(root, followlinks=False):
        relative = PurePosixPath(*Path(here).relative_to(root).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        if len(relative.parts) >= MAX_DEPTH:
            folders.clear()
        seen += len(names) + len(folders)
        if seen > MAX_ENTRIES:
            raise Refused(f"it holds more than {MAX_ENTRIES} files")
        for name in sorted(names):
            if place := destination(relative / name, lessons):
                submission.keep(place, read_regular(Path(here, name)))
    path = root / PROGRESS
    if path.is_file() and not path.is_symlink():
        submission.progress = read_regular(path)


def read_regular(path: Path) -> bytes:
    """Read a regular file, up to one byte more than the limit; a link or a pipe is refused."""
    flags = os.O_RDONLY
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, flag, 0)
    if path.is_symlink():
        raise Refused(f"{path.name} is a link")
    with open(os.open(path, flags), "rb") as f:
        if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
            raise Refused(f"{path.name} is no regular file")
        return f.read(MAX_FILE + 1)


class Bounded(io.FileIO):
    """A file that is read in parts of a reasonable size only."""

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes. Raises Refused for very many."""
        if size is not None and size > MAX_DIRECTORY:
            raise Refused("its list of contents is far longer than that of an exercise")
        return super().read(size)


def read_zip(submission: Submission, lessons: list[Lesson]) -> None:
    """Take the files of lessons from a zip."""
    try:
        with Bounded(submission.source) as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            for entry in entries:
                require_honest(entry)
            if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > 8 * MAX_TOTAL:
                raise Refused("it unpacks to far more than an exercise: a zip bomb")
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))  # older tools on Windows
                place = None if entry.is_dir() or is_hidden(path) else destination(path, lessons)
                if place:
                    submission.keep(place, read_entry(archive, entry))
                elif path.parts[-2:] == tuple(PROGRESS.split("/")) and not submission.progress:
                    submission.progress = read_entry(archive, entry)
    except Refused:
        raise
    except Exception as error:  # damaged in one of the many ways that a zip can be
        raise Refused(f"it is no readable zip ({type(error).__name__})") from None


def is_hidden(path: PurePosixPath) -> bool:
    """Say if a path leads through a hidden folder, or one that macOS adds."""
    return any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in path.parts)


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read a zip's entry, up to one byte more than the limit, whatever its header says of the size."""
    with archive.open(entry) as f:
        return f.read(MAX_FILE + 1)


def require_honest(entry: zipfile.ZipInfo) -> None:
    """Refuse a zip with an entry that would be dangerous to unpack. Raises Refused."""
    said = printable(entry.filename, 60)
    parts = entry.filename.replace("\\", "/").split("/")
    if entry.filename.startswith(("/", "\\")) or ":" in parts[0] or ".." in parts:
        raise Refused(f"its path {said} leads out of it")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refused(f"its entry {said} is a link")
    if entry.flag_bits & 1:
        raise Refused("it is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"its entry {said} is packed in an unusual way; zip it again")
    if entry.file_size > 2**20 and entry.file_size > 200 * max(entry.compress_size, 1):
        raise Refused(f"its entry {said} unpacks to {entry.file_size >> 20} MiB: a zip bomb")
