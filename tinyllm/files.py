"""Files that are written whole or not at all: whatever happens in mid-save, the old file is still there.

The order matters: write to a temporary file beside the target, flush it to the disk, rename it over the
target (one atomic step on every file system that is used for this), then flush the folder, because the
new name is the folder's content.
"""

import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tinyllm.errors import UserError

_serial = itertools.count()  # two threads of one process never share a temporary file


@contextmanager
def atomic_write(path: Path | str, mode: str = "w", encoding: str | None = None) -> Iterator[IO]:
    """Write a file so that its path always holds the whole old content or the whole new one.

    Write as `with atomic_write(path, "wb") as f: f.write(data)`. When the block raises, the target is left
    as it was and the temporary file is removed. A killed process can leave a temporary file
    `.NAME.PID-N.tmp` behind, which nothing ever reads; `remove_leftovers` clears it away. `mode` is "w"
    (text, UTF-8 unless you say otherwise) or "wb". Raises UserError when the system refuses to write, and
    when the target is there but is no regular file: a rename would replace a device or a pipe, not write
    to it.
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
    """Delete what killed writers left in `folder`; only call it where nobody is writing now."""
    for leftover in Path(folder).glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+(-\d+)?\.tmp", leftover.name):  # ours, not somebody's hidden file
            with suppress(OSError):
                leftover.unlink()
