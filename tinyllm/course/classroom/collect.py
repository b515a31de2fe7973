"""Submissions: what students handed in, as folders or zips, read with care.

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
    def digest(self):
        """What tells these files from others -> hexadecimal digits."""
        parts = [f"{self.student}\0{self.problem}".encode("utf-8", "surrogateescape")]
        parts.append(self.progress)
        parts += [f"{k!r}\0".encode("utf-8", "surrogateescape") + v for k, v in sorted(self.files.items())]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


class Refused(Exception):
    """A submission that is not taken; the message is one line."""


def collect(folder, lessons):
    """Read every submission below a folder, in the order of their names -> list of Submission.

    Two of one student are both refused, because no program knows which one counts.
    """
    found = []
    for entry in filter(is_submission, entries(folder)):
        suffix = entry.suffix.lower()
        is_zip = suffix == ".zip"
        packed = (is_zip or suffix in OTHERS) and not entry.is_dir()
        name = entry.stem.removesuffix(".tar") if packed else entry.name
        submission = Submission(student_name(name), entry)
        try:
            if entry.is_symlink():
                raise Refused("it is a link, not a folder or a zip")
            if entry.is_dir():
                read_folder(submission, lessons)
            elif is_zip and entry.is_file():
                read_zip(submission, lessons)
            elif packed and entry.is_file():
                what = f"hand in a folder or a zip with {lessons[0].folder}/exercise.py and so on"
                raise Refused(f"it is a {suffix} file; {what}")
            else:
                raise Refused("it is neither a folder nor a zip")
            if not any(name in EXERCISES for _, name in submission.files):
                raise Refused(f"it holds no exercise.py in a folder such as {lessons[0].folder}")
        except Refused as problem:
            submission.files, submission.problem = {}, printable(problem)
        except (OSError, ValueError) as error:
            submission.files = {}
            submission.problem = printable(f"it cannot be read: {getattr(error, 'strerror', None) or error}")
        found.append(submission)
    return refuse_twins(found)


def entries(folder):
    """What lies in a folder and is not hidden, in the order of the names -> list of paths."""
    found = sorted(Path(folder).iterdir(), key=lambda path: os.fsencode(path.name))
    return [path for path in found if not path.name.startswith(".") and path.name != "__MACOSX"]


def is_submission(entry):
    """Whether somebody handed this in: it is no file such as a list of names, which others may put here."""
    other = entry.suffix.lower() not in (".zip", *OTHERS)
    return not (other and entry.is_file() and not entry.is_symlink())


def left_out(folder):
    """What lies beside the submissions in a folder and is none -> list of names."""
    return [printable(entry.name, 80) for entry in entries(folder) if not is_submission(entry)]


def student_name(name):
    """The name of a student in its one form: two ways to write an accent are one name."""
    text = " ".join(unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace")).split())
    kept = (c if c.isprintable() or c in JOINERS else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(kept).strip(JOINERS) or "?"


def refuse_twins(submissions):
    """Mark submissions whose students have one name."""
    by_name = {}
    for submission in submissions:
        by_name.setdefault(submission.student.casefold(), []).append(submission)
    kept = []
    for twins in by_name.values():
        if len(twins) > 1:
            names = " and ".join(printable(twin.source.name, 80) for twin in twins)
            twins[0].files = {}
            twins[0].problem = f"{len(twins)} submissions of one student: {names}; keep one"
        kept.append(twins[0])
    return kept


def wanted(path, lessons):
    """Where a file belongs -> (folder of a lesson, name), or None. path: PurePosixPath in the submission."""
    too_long = len(path.name.encode("utf-8", "surrogateescape")) > MAX_NAME
    if path.suffix not in SUFFIXES or len(path.parts) > MAX_DEPTH or too_long:
        return None
    folder = path.parent.name
    if folder in {lesson.folder for lesson in lessons}:
        return folder, path.name
    if len(lessons) == 1 and path.name == "exercise.py":  # a course of one lesson needs no folders
        return lessons[0].folder, path.name
    return None


def keep(submission, place, data, total):
    """Take one file in. Raises Refused where it is the second of its name, or too much."""
    if len(data) > MAX_FILE:
        raise Refused(f"{place[1]} has more than {MAX_FILE >> 20} MiB")
    if total > MAX_TOTAL or len(submission.files) >= MAX_FILES:
        raise Refused("it holds too much to be an exercise")
    if place in submission.files and submission.files[place] != data:
        raise Refused(f"it holds two different files {place[0]}/{place[1]}; keep one")
    submission.files[place] = data


def read_folder(submission, lessons):
    """Take the files of lessons from a folder; links are not followed."""
    root, total, seen = submission.source, 0, 0
    for here, folders, names in os.walk(root, followlinks=False):
        relative = PurePosixPath(*Path(here).relative_to(root).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        if len(relative.parts) >= MAX_DEPTH:
            folders.clear()
        seen += len(names) + len(folders)
        if seen > MAX_ENTRIES:
            raise Refused(f"it holds more than {MAX_ENTRIES} files")
        for name in sorted(names):
            place = wanted(relative / name, lessons)
            if place:
                data = read_regular(Path(here, name), name)
                total += len(data)
                keep(submission, place, data, total)
    path = root / PROGRESS
    if path.is_file() and not path.is_symlink():
        submission.progress = read_regular(path, PROGRESS)


def read_regular(path, name):
    """The bytes of a regular file, up to one more than the limit; a link or a pipe is refused."""
    flags = os.O_RDONLY
    for name_of_flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name_of_flag, 0)
    if path.is_symlink():
        raise Refused(f"{name} is a link")
    with open(os.open(path, flags), "rb") as f:
        if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
            raise Refused(f"{name} is no regular file")
        return f.read(MAX_FILE + 1)


class Parts(io.FileIO):
    """A file that is read in parts of a reasonable size only."""

    def read(self, size=-1):
        """So many bytes. Raises Refused for very many."""
        if size is not None and size > MAX_DIRECTORY:
            raise Refused("its list of contents is far longer than that of an exercise")
        return super().read(size)


def read_zip(submission, lessons):
    """Take the files of lessons from a zip."""
    try:
        with Parts(submission.source) as parts, zipfile.ZipFile(parts) as archive:
            entries = archive.infolist()
            for entry in entries:
                require_honest(entry)
            if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > 8 * MAX_TOTAL:
                raise Refused("it unpacks to far more than an exercise: a zip bomb")
            total = 0
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))  # older tools on Windows
                place = None if entry.is_dir() or hidden(path) else wanted(path, lessons)
                if place:
                    data = read_entry(archive, entry)
                    total += len(data)
                    keep(submission, place, data, total)
                elif path.parts[-2:] == tuple(PROGRESS.split("/")) and not submission.progress:
                    submission.progress = read_entry(archive, entry)
    except Refused:
        raise
    except Exception as error:  # damaged in one of the many ways that a zip can be
        raise Refused(f"it is no readable zip ({type(error).__name__})") from None


def hidden(path):
    """Whether a path leads through a hidden folder, or one that macOS adds."""
    return any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in path.parts)


def read_entry(archive, entry):
    """The bytes of a zip's entry, up to one more than the limit, whatever its header says of the size."""
    with archive.open(entry) as f:
        return f.read(MAX_FILE + 1)


def require_honest(entry):
    """Refuse a zip with an entry that would be dangerous to unpack. Raises Refused."""
    name = entry.filename
    said = printable(name, 60)
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ":" in parts[0] or ".." in parts:
        raise Refused(f"its path {said} leads out of it")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refused(f"its entry {said} is a link")
    if entry.flag_bits & 1:
        raise Refused("it is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"its entry {said} is packed in an unusual way; zip it again")
    if entry.file_size > 2**20 and entry.file_size > 200 * max(entry.compress_size, 1):
        raise Refused(f"its entry {said} unpacks to {entry.file_size >> 20} MiB: a zip bomb")
