"""Read files of bounded size, and write files whole or not at all.

If saving a file fails, the old file stays. The order of the steps matters: write a temporary file beside the
target, flush it to the disk, rename it over the target (an atomic step on all common file systems), then
flush the folder, because names are stored in the folder.
"""

import itertools
import json
import os
import re
import select
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import IO, Any

from tinyllm.config import LARGEST_NUMBER, conform
from tinyllm.errors import UserError, worded

LARGEST = 2**26  # the most bytes of a file of settings, results or tokens; weights and texts differ
MOST = 2**22  # the most values in a JSON file: an empty list takes 2 bytes in the file and 64 in memory
DIGITS = 300  # the most digits of a whole number, which is then below LARGEST_NUMBER
ZEROS = bytes(48 if chr(byte) in "0123456789" else byte for byte in range(256))  # turns digits into zeros
# Thirty nested tables in one line of TOML, a.b.c...: tomllib's memory grows with the square of their number.
DOTTED = re.compile(r"""(?<![\w.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){30}""")

_serial = itertools.count()  # makes names of temporary files differ


@contextmanager
def atomic_write(path: Path | str) -> Iterator[IO[bytes]]:
    """Write a file so that its path always holds the whole old content or the whole new one.

    Use it as `with atomic_write(path) as f: f.write(data)`. When the block raises, the target stays as it was
    and the temporary file is removed. A process that is killed can leave a temporary file `.NAME.PID-N.tmp`;
    it is never read, and `remove_leftovers` deletes it. Raises UserError when the file cannot be written, and
    when the target is not a regular file: a rename would replace a device or a pipe instead of writing to it.
    """
    path = Path(os.path.realpath(path))  # write through a link, do not replace it
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: it is not a regular file; choose another name")
    temporary = path.with_name(f".{path.name[:40]}.{os.getpid()}-{next(_serial)}.tmp")
    try:
        with open(temporary, "wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # after the rename there is nothing left to remove
            temporary.unlink()


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes to `path`, whole or not at all. Raises UserError when the file cannot be written."""
    with atomic_write(path) as f:
        f.write(data)


def atomic_write_text(path: Path | str, text: str) -> None:
    """Write text to `path` as UTF-8, whole or not at all. Raises UserError when it cannot be written."""
    atomic_write_bytes(path, text.encode())


def sync_folder(folder: Path | str) -> None:
    """Flush a folder's list of names to the disk, so that a rename survives a power cut.

    Windows cannot open a folder, so there only the rename itself is done.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path | str) -> None:
    """Delete temporary files of killed processes in `folder`. Nothing else may be writing there."""
    for leftover in Path(folder).glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+(-\d+)?\.tmp", leftover.name):  # a temporary file, not any hidden file
            with suppress(OSError):
                leftover.unlink()


@contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Keep other processes out of a file or folder inside a `with` block.

    A file that is missing is made, and deleted if it stays empty. Raises UserError when another process has
    locked the path. A lock ends with its process, even one that is killed. Windows has no such locks.
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    handle = os.open(path, os.O_RDONLY | (0 if os.path.isdir(path) else os.O_CREAT), 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"another process is writing to {path}: wait for it, or choose another") from None
    finally:
        if not os.path.isdir(path) and not os.path.getsize(path):
            os.unlink(path)
        os.close(handle)


@contextmanager
def open_regular(path: Path | str, follow: bool = True) -> Iterator[BufferedReader]:
    """Open a regular file for reading in binary mode, as a context manager.

    Use it for files that somebody else may have written: opening a pipe could block the program, and reading
    a device may never end. Without `follow`, a link is refused. Raises UserError, with the path, when the
    file is not regular, or cannot be opened or read.
    """
    waits = getattr(os, "O_NONBLOCK", 0)  # Windows has no such pipes
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | waits | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    try:
        mode = os.stat(path, follow_symlinks=follow).st_mode
        handle = os.open(path, flags) if stat.S_ISREG(mode) else None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if handle is None:
        what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise UserError(f"cannot read {path}: it is {what}")
    with open(handle, "rb") as file:
        if waits:
            (poll := select.poll()).register(file, select.POLLIN)  # select.select takes no number above 1023
            if not poll.poll(0):  # /proc/kmsg, or a pipe put there since os.stat
                raise UserError(f"cannot read {path}: it is a pipe, and nobody writes to it")
        try:
            yield file
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def open_unchanged(path: Path | str, state: tuple[int, ...] = ()) -> Iterator[BufferedReader]:
    """Open a regular file. Raises UserError at the end if it has changed since then, or since `state`."""
    with open_regular(path) as file:
        before = state or state_of(file)
        yield file
        if state_of(file) != before:
            raise UserError(f"{path} has changed since it was opened: leave it alone, and start again")


def state_of(file: Any) -> tuple[int, ...]:
    """Return what changes with an open file's content: device, number, size, and time in nanoseconds."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_bytes(path: Path | str, most: int = LARGEST) -> bytes:
    """Read a regular file -> bytes. Raises UserError if it has more than `most` bytes or cannot be read."""
    with open_regular(path) as f:
        size = os.fstat(f.fileno()).st_size
        data = f.read(size + 1) if size <= most else b""  # it may grow while it is read
    if max(size, len(data)) > most:
        raise UserError(f"cannot read {path}: it has more than {most:,} bytes")
    return data


def read_text(path: Path | str, most: int = LARGEST, encoding: str = "utf-8") -> str:
    """Read a regular file -> text. Raises UserError if it is too long, unreadable or in another encoding."""
    try:
        return read_bytes(path, most).decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8: see byte {error.start}") from error


def read_stream(stream: IO[bytes] | BufferedIOBase, name: object, most: int) -> bytes:
    """Read a stream, such as standard input, to its end. Raises UserError if it has more than `most` bytes.

    The stream is read in parts, because one long read would need twice the memory.
    """
    data = bytearray()
    while part := stream.read(2**20):
        data += part
        if len(data) > most:
            raise UserError(f"{name} holds more than {most / 2**20:,g} MiB; take a part of it")
    return bytes(data)


def read_json(path: Path | str, kind: Any = Any, most: int = LARGEST) -> Any:
    """Read a JSON file, and check its content against the type `kind` (see `conform`).

    Raises UserError, with the path, when the file cannot be read, is not JSON, or has another type.
    """
    data = read_bytes(path, most)
    with worded(f"{path} "):
        conform(value := parse_json(data), kind)
    return value


def parse_json(data: bytes | str) -> Any:
    """Parse JSON that may be malformed or malicious.

    Raises UserError on text that is not JSON, more than MOST values, deep nesting, a key that occurs twice,
    NaN, and numbers that are infinite or too long. Lone surrogates (halves of a character) are refused too,
    because a text with one cannot be written to a file. The message begins with a verb, because callers put
    the file's name before it.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) >= MOST and count_values(raw) > MOST:
        raise UserError(f"holds more than {MOST:,} values")
    run = b"0" * (DIGITS // 7) in raw[::7].translate(ZEROS)  # as it is if DIGITS digits stand in a row
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repetition, parse_float=_number,
                           parse_constant=_number, parse_int=_whole if run else int)
        if b"\\ud" in raw or b"\\uD" in raw:  # surrogates, perhaps one without the other
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeEncodeError:
        raise UserError("holds half a character: one surrogate without the other") from None
    except UnicodeDecodeError as error:
        raise UserError(f"is not JSON: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"is not JSON: {error.msg.removesuffix(' at')} at {where}") from None
    except RecursionError:
        raise UserError("is nested too deeply") from None


def count_values(data: bytes) -> int:
    """Return an upper bound on the number of values in JSON text, without parsing it."""
    return 1 + sum(map(data.count, (b",", b"[", b"{")))


def _without_repetition(pairs):
    fields = dict(pairs)
    if len(fields) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise UserError(f"holds the key {twice[:60]!r} twice")
    return fields


def _number(text):
    number = float(text)
    if not abs(number) < LARGEST_NUMBER:
        raise UserError(f"holds {text[:20]}, which is not a finite number below {LARGEST_NUMBER:g}")
    return number


def _whole(text):
    if len(text) > DIGITS:
        raise UserError("holds a number that is too long")
    return int(text)


def read_toml(path: Path | str, kind: Any = Any) -> dict[str, Any]:
    """Read a TOML file of at most a megabyte; dates become text. `kind` and errors: see `read_json`."""
    text = read_text(path, 2**20, "utf-8-sig")
    try:
        if DOTTED.search(text):
            raise RecursionError
        as_json = json.dumps(tomllib.loads(text), default=lambda date: date.isoformat())
    except RecursionError:
        raise UserError(f"{path} is nested too deeply") from None
    except ValueError as error:  # also an integer of thousands of digits
        bare = str(error).startswith(("Invalid value", "Expected newline"))
        hint = "; does a text or a time lack quotes?" * bare
        raise UserError(f"{path} is not valid TOML: {error}{hint}") from error
    with worded(f"{path} "):
        conform(value := parse_json(as_json), kind)
    return value
