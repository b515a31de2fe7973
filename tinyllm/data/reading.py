"""Read a corpus from a path: a file, a folder, a glob pattern, a .gz, or "-" for standard input.

Everything is read into memory, up to MAX_BYTES in all. Of a .gz, the unpacked bytes count, so a small file
that unpacks to a huge one is refused.
"""

import glob
import gzip
import os
import sys
import zlib
from pathlib import Path

from tinyllm.errors import UserError
from tinyllm.files import open_unchanged, read_stream

MAX_BYTES = 2**29  # a larger text is encoded to a file by `tinyllm tokenizer encode --out`


def read(where: str) -> bytes:
    """Read a file, folder, glob pattern or "-". Raises UserError if that fails."""
    if not where:
        raise UserError("the name of the corpus is empty; see `tinyllm data list`")
    path = Path(where)
    if where == "-":
        return read_stream(sys.stdin.buffer, "standard input", MAX_BYTES)
    if os.path.isdir(path):  # hidden files are left out
        found = sorted(path.rglob("*"))
        return _read_many(where, [x for x in found if "/." not in f"/{x.relative_to(path).as_posix()}"])
    if not os.path.lexists(path) and glob.has_magic(where):
        return _read_many(where, sorted(map(Path, glob.glob(where, recursive=True))))
    return read_file(path)


def read_file(path: Path) -> bytes:
    """Read one file -> bytes, unpacked if its name ends in .gz. Raises UserError if it cannot be read."""
    try:
        with open_unchanged(path) as f:
            if os.fstat(f.fileno()).st_size > MAX_BYTES:  # checked before memory is allocated
                raise UserError(f"{path} holds more than {MAX_BYTES / 2**20:,g} MiB; take a part of it")
            try:
                return read_stream(gzip.GzipFile(fileobj=f) if path.suffix == ".gz" else f, path, MAX_BYTES)
            except (gzip.BadGzipFile, EOFError, zlib.error) as why:
                raise UserError(f"{path} is cut short, or not a gzip file ({why}); fetch it again") from None
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UserError(f"there is no corpus and no file {path}; see `tinyllm data list`") from None
        raise


def _read_many(where, paths):
    """Read and join the regular files among the paths, without those with a NUL byte, such as images."""
    parts, total = [], 0
    for path in paths:
        if path.is_file() and b"\0" not in (part := read_file(path)):
            parts.append(part)
            total += len(part)
        if total > MAX_BYTES:
            raise UserError(f"{where} holds more than {MAX_BYTES // 2**20:,} MiB; take a part of it")
    if not parts:
        raise UserError(f"{where} holds no text files")
    return join(parts)


def join(parts: list[bytes]) -> bytes:
    """Join texts into one, so that each begins on a new line."""
    lines = [part if part.endswith(b"\n") else part + b"\n" for part in parts[:-1]]
    return b"".join(lines + parts[-1:])
