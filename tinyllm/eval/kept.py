"""Keep answers in a file, so that a killed evaluation goes on where it was, and none is asked twice."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError, worded
from tinyllm.eval.ask import Answer
from tinyllm.eval.task import Item, Task
from tinyllm.files import parse_json, read_bytes
from tinyllm.runs.log import RunLog

CHUNK = 32  # items are asked, and kept, in lists of this length
ANSWER = {"text": str, "confidence": bounded(float, min=0, max=1), "ended": bool,
          "shots": bounded(int, min=0), "tokens": bounded(int, min=0), "told": [[bounded(int, min=0)]],
          "logprobs": [float]}
LINE = {"item": str} | ANSWER


def name_of(item: Item) -> str:
    """Return a short digest of what an item asks."""
    content = repr((item.question, item.suffix, item.truth, tuple(item.choices)))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Kept:
    """The answers of a model to a task, in a file of a folder.

    The file's name has a digest of `about`, such as the model's SHA-256, the metric and the shots.
    """

    def __init__(self, folder: Path, title: str, about: Any):
        digest = hashlib.sha256(json.dumps([about, *LINE], sort_keys=True).encode()).hexdigest()
        words = "".join(c if c.isalnum() else "-" for c in title)[:60]
        self.path = folder / f"{words}-{digest[:16]}.jsonl"

    def read(self, task: Task, items: Sequence[Item], n: int) -> list[Answer]:
        """Return the kept answers, n to each item. Errors are those of `read_records`."""
        asked = [item for item in items for _ in range(n)]
        lines = read_records(self.path, LINE, [{"item": name_of(item)} for item in asked], n)
        return [Answer(item, score=task.score(item, said["text"]), **{name: said[name] for name in ANSWER})
                for item, said in zip(asked, lines, strict=False)]

    def add(self, answers: Sequence[Answer]) -> None:
        """Append answers to the file. Raises UserError when it cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for x in answers:
            RunLog(self.path).append({"item": name_of(x.item)} | {name: getattr(x, name) for name in ANSWER})


def read_records(path: Path, fields: Any, due: Sequence[dict[str, Any]], n: int = 1) -> list[dict[str, Any]]:
    """Return the records of a file: each is a line of JSON, and has all values of the record that is due.

    fields: what they have, as for `conform`. A last line that was cut off is removed, and lines behind the
    last whole group of n. Raises UserError, naming the line, when one is damaged or has another value.
    """
    data, found = read_bytes(path) if os.path.lexists(path) else b"", []
    lines = data.split(b"\n")[:-1]
    lines = lines[: len(lines) - len(lines) % n]
    if (size := sum(len(line) + 1 for line in lines)) < len(data):
        os.truncate(path, size)
    for number, (line, values) in enumerate(zip(lines, due, strict=False), 1):
        with worded(f"{path} line {number} "):
            conform(said := parse_json(line), fields)
            for name in values:
                if said[name] != values[name]:
                    raise UserError(f"has the {name} {str(said[name])[:60]}, but this call asks about "
                                    f"{str(values[name])[:60]}: give another --out")
            found.append(said)
    return found
