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
from tinyllm.errors import UserError, worded
from tinyllm.files import parse_json, read_bytes
from tinyllm.train.events import MEASURED, STEP_FIELDS

LARGEST_LOG = 2**28  # bytes: a million steps
KINDS: dict[str, Any] = {  # {kind: its fields besides `step`}; the bounds keep numbers drawable in a chart
    "step": dict.fromkeys(STEP_FIELDS, bounded(float | None, min=-1e100, max=1e100))
    | dict.fromkeys(MEASURED, bounded(float | None, min=0, max=1e15))
    | {"seconds": bounded(float, min=0, max=1e15)},
    "sample": {"text": str},
    "refused": {"text": str},
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

        Raises UserError when no line ends there, or a line before is damaged.
        """
        data = read_bytes(self.path, LARGEST_LOG) if self.path.exists() else b""
        if len(data) < length or (length and data[length - 1] != ord("\n")):
            raise UserError(f"{self.path} has {len(data)} bytes, and no line that ends after {length} of "
                            "them, as the checkpoint says: put the log back, or train again with --overwrite")
        parse_log(self.path, data[:length])
        with self._open() as f:
            f.truncate(length)

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        """Open the log for appending. Raises UserError when it cannot be opened or written."""
        try:
            with open(self.path, "ab") as f:
                yield f
        except OSError as error:
            reason = f"cannot write {self.path}: {error.strerror}; the last checkpoint is whole"
            raise UserError(reason) from error


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of a log.jsonl, without a last line that was cut; raise UserError if damaged."""
    return parse_log(path, read_bytes(path, LARGEST_LOG))


def parse_log(path: str | Path, data: bytes) -> list[dict[str, Any]]:
    """Return the records in a log's bytes; `path` is for errors. See `read_log`."""
    records, step = [], 0
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        with worded(f"{path} line {number} ", "; the log is damaged"):
            conform(record := parse_json(line), {"kind": bounded(str, choices=("data", *KINDS))})
            if kind := KINDS.get(record["kind"]):
                conform(record, kind | {"step": bounded(int, min=step, max=10**15)})  # steps never fall
                step = record["step"]
            records.append(record)
    return records
