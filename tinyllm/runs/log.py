"""Write and read log.jsonl: one JSON object per line, oldest first.

A resumed run cuts the log back to the length that is stored in the checkpoint.

The first line describes the data (`"kind": "data"`: name, size and SHA-256 of the text). Then come
lines of `"kind": "sample"` and `"kind": "step"`; the last line of a finished run is a step.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError
from tinyllm.files import open_regular, parse_json
from tinyllm.train.events import MEASURED, STEP_FIELDS

LARGEST_LOG = 2**28  # bytes: a million steps
KINDS: dict[str, Any] = {  # all have a step, too; a chart can draw numbers in these bounds
    "step": dict.fromkeys(STEP_FIELDS, bounded(float | None, min=-1e100, max=1e100))
    | dict.fromkeys(MEASURED, bounded(float | None, min=0, max=1e15))
    | {"seconds": bounded(float, min=0, max=1e15)},
    "sample": {"text": str},
}


class RunLog:
    """A log.jsonl, to which records are appended; it can be flushed and cut."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, record: dict[str, Any]) -> None:
        """Append a record as one line. Raises UserError when the line cannot be written."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        with self._open() as f:
            f.write(line.encode("utf-8", "surrogatepass"))

    def sync(self) -> int:
        """Flush the log to the disk and return its length in bytes, which a checkpoint stores."""
        with self._open() as f:
            os.fsync(f.fileno())
            return f.tell()

    def cut(self, length: int) -> None:
        """Cut the log after `length` bytes; a resumed run writes the later lines again.

        Raises UserError when the log is shorter, or the remaining lines are damaged.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < length:
            raise UserError(f"{self.path} has {size} bytes, and the checkpoint expects {length}: lines are "
                            "missing; put the log back, or start again with --overwrite")
        if size:
            read_log(self.path, length)
        with self._open() as f:
            f.truncate(length)

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        """Open the log for appending. Raises UserError when it cannot be opened or written."""
        try:
            if os.path.lexists(self.path) and not self.path.is_file():  # a pipe would wait for a reader
                raise OSError(0, "it is not a regular file")
            with open(self.path, "ab") as f:
                yield f
        except OSError as error:
            reason = f"cannot write {self.path}: {error.strerror}; the last checkpoint is whole"
            raise UserError(reason) from error


def read_log(path: str | Path, length: int = LARGEST_LOG + 1) -> list[dict[str, Any]]:
    """Return the records of a log.jsonl, without an incomplete last line.

    With `length`, only this many bytes are read, which must end with a complete line. Raises UserError when
    the file is missing or any other line is not a JSON object.
    """
    with open_regular(path) as f:
        data = f.read(min(length, LARGEST_LOG + 1))
    if len(data) > LARGEST_LOG:
        raise UserError(f"cannot read {path}: it has more than {LARGEST_LOG:,} bytes")
    lines = data.split(b"\n")
    if length <= LARGEST_LOG and lines[-1]:
        raise UserError(f"{path} line {len(lines)} does not end where the checkpoint says; it is damaged")
    records, step = [], 0
    for number, line in enumerate(lines, 1):
        try:
            if line:
                conform(record := parse_json(line), {"kind": bounded(str, choices=("data", *KINDS))})
                if kind := KINDS.get(record["kind"]):
                    conform(record, kind | {"step": bounded(int, min=step, max=10**15)})  # steps never fall
                    step = record["step"]
                records.append(record)
        except UserError as error:
            if number == len(lines) and length > LARGEST_LOG:
                break
            raise UserError(f"{path} line {number} {error}; the log is damaged") from error
    return records
