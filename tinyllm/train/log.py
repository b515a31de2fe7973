"""log.jsonl: one JSON object per line, oldest first. A resumed run cuts it back to where its checkpoint was.

The first line is the run's birth certificate (`"kind": "data"`: name, size and SHA-256 of the text). Then
come lines of `"kind": "sample"` and `"kind": "step"`; the last line of a finished run is a step.
"""

import json
import os
import sys
from pathlib import Path

from tinyllm.errors import UserError

MEASURED = (
    "tokens_per_second",
    "seconds",
    "peak_rss_mb",
)  # differ from run to run; all else is the same bits


class RunLog:
    """A log.jsonl that can be added to, flushed and cut."""

    def __init__(self, path):
        self.path = Path(path)

    def append(self, record):
        """Add one record as one line. Raises UserError when the disk refuses."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with open(self.path, "ab") as f:
                f.write(line.encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; the last checkpoint is whole"
            ) from error

    def sync(self):
        """Flush the log to the disk and return its length in bytes, which a checkpoint remembers."""
        try:
            with open(self.path, "ab") as f:
                os.fsync(f.fileno())
                return f.tell()
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror}; the last checkpoint is whole"
            ) from error

    def cut(self, length):
        """Drop everything after the first `length` bytes: what was written after the checkpoint will happen
        again."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < length:
            raise UserError(
                f"{self.path} has {size} bytes and the checkpoint remembers {length}: lines are missing; "
                "put the log back, or start again with --overwrite"
            )
        with open(self.path, "ab") as f:
            f.truncate(length)


def read_log(path):
    """Return the records of a log.jsonl; a last line that was cut short by a crash is left out.

    Raises UserError when the file is missing or some other line is no JSON object.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; is this the folder of a run?") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            if line:
                records.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(f"{path} line {number} is not JSON; the log is damaged") from error
    if not all(isinstance(record, dict) for record in records):
        raise UserError(f"{path} holds lines that are no records; the log is damaged")
    return records


def peak_rss_mb():
    """Return the most memory that this process has held so far, in MiB.

    None where the system does not say.
    """
    try:
        with open(
            "/proc/self/status", encoding="ascii", errors="replace"
        ) as f:  # getrusage also counts the parent's
            for line in f:
                if line.startswith("VmHWM:"):
                    return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    per_mib = 2**20 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mib, 1)
