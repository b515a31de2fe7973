"""Read files of bounded size, and write files whole or not at all.

If saving a file fails, the old file stays. The order of the steps matters: write a temporary file beside the
target, flush it to the disk, rename it over the target (an atomic step on all common file systems), then
flush the folder, because names are stored in the folder.
"""

import itertools
import json
import math
import os
import re
import stat
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tinyllm.errors import UserError

LARGEST = 2**26  # bytes of a file of settings, results or tokens; weights and texts have other limits
MOST = 2**22  # values in a JSON file: an empty list takes 2 bytes in the file and 64 in memory

_serial = itertools.count()  # gives every temporary file of this process another name


@contextmanager
def atomic_write(path: Path | str, mode: str = "w", encoding: str | None = None) -> Iterator[IO]:
    """Write a file so that its path always holds the whole old content or the whole new one.

    Write as `with atomic_write(path, "wb") as f: f.write(data)`. When the block raises, the target is left
    as it was and the temporary file is removed. A killed process can leave a temporary file
    `.NAME.PID-N.tmp` behind, which nothing ever reads; `remove_leftovers` clears it away. `mode` is "w"
    (text, UTF-8 by default) or "wb". Raises UserError when the file cannot be written, and when the target
    exists but is not a regular file: a rename would replace a device or a pipe instead of writing to it.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f'atomic_write writes whole files: mode must be "w" or "wb", got {mode!r}')
    path = Path(os.path.realpath(path))  # write through a link, do not replace it
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: it is not a regular file; choose another name")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}.tmp")
    if mode == "w":
        encoding = encoding or "utf-8"
    try:
        with open(temporary, mode, encoding=encoding, newline="\n" if mode == "w" else None) as f:
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
    """Write `data` (bytes) to `path`, whole or not at all. Raises UserError when it cannot."""
    with atomic_write(path, "wb") as f:
        f.write(data)


def atomic_write_text(path: Path | str, text: str) -> None:
    """Write `text` (str) to `path` as UTF-8, whole or not at all. Raises UserError when it cannot."""
    with atomic_write(path, "w") as f:
        f.write(text)


def sync_folder(folder: Path | str) -> None:
    """Flush a folder's list of names to the disk, so that a rename survives a power cut.

    Windows cannot open a folder; there the rename itself is all that can be done.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path | str) -> None:
    """Delete temporary files that killed processes left in `folder`, while nothing else writes there."""
    for leftover in Path(folder).glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+(-\d+)?\.tmp", leftover.name):  # ours, not somebody's hidden file
            with suppress(OSError):
                leftover.unlink()


def read_bytes(path: Path | str, most: int = LARGEST) -> bytes:
    """Read a regular file of at most `most` bytes.

    Every file that a program opens by itself is read here, so that no file can block the program (a pipe),
    never end (a device) or fill the memory. Raises UserError, with the path.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as f:
            about = os.fstat(f.fileno())
            data = f.read(min(about.st_size, most) + 1) if stat.S_ISREG(about.st_mode) else None
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {_shown(path)}: {reason}") from error
    if data is None:
        raise UserError(f"cannot read {_shown(path)}: it is not a regular file")
    if len(data) > most:
        raise UserError(f"cannot read {_shown(path)}: it has more than {most:,} bytes")
    return data


def _without_waiting(path, flags):
    """Open a file without waiting, even if it is a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _shown(path):
    """Write a path in one line of bounded length."""
    text = str(path)
    text = text if len(text) <= 300 else f"{text[:150]}...{text[-150:]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def read_json(path: Path | str, most: int = LARGEST) -> Any:
    """Read a file of JSON. Raises UserError, with the path, as `read_bytes` and `parse_json` do."""
    data = read_bytes(path, most)
    try:
        return parse_json(data)
    except UserError as error:
        raise UserError(f"{_shown(path)} {error}") from error


def parse_json(data: bytes | str) -> Any:
    """Parse JSON that may be malformed or malicious.

    Raises UserError on text that is not JSON, more than MOST values, deep nesting, a key that occurs twice,
    NaN, and numbers that are infinite or too long. The message begins with a verb, to follow a file's name.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if count_values(raw) > MOST:
        raise UserError(f"holds more than {MOST:,} values")
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repetition, parse_float=_finite,
                          parse_constant=_finite)  # fmt: skip
    except UnicodeDecodeError as error:
        raise UserError(f"is not JSON: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"is not JSON: {error.msg.removesuffix(' at')} at {where}") from None
    except UserError:
        raise
    except RecursionError:
        raise UserError("is nested too deeply") from None
    except ValueError:  # Python refuses to read an integer of thousands of digits
        raise UserError("holds a number that is too long") from None


def count_values(data: bytes) -> int:
    """Return an upper bound of the number of values in JSON."""
    return 1 + sum(map(data.count, (b",", b"[", b"{")))


def _without_repetition(pairs):
    fields = dict(pairs)
    if len(fields) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise UserError(f"holds the key {twice[:60]!r} twice")
    return fields


def _finite(text):
    number = float(text)
    if not math.isfinite(number):
        raise UserError(f"holds {text[:20]}, which is no finite number")
    return number


def read_toml(path: Path | str) -> dict[str, Any]:
    """Read a file of TOML, at most a megabyte. Raises UserError, with the path."""
    data = read_bytes(path, 2**20)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError:
        raise UserError(f"{_shown(path)} is nested too deeply") from None
    except ValueError as error:  # TOML that is wrong, bytes that are not UTF-8, numbers that are too long
        raise UserError(f"{_shown(path)} is not valid TOML: {error}") from error
