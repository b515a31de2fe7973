"""Keep answers in a file, so that a killed evaluation goes on where it was, and none is asked twice."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.config import bounded, conform
from tinyllm.errors import UserError
from tinyllm.eval.ask import Answer
from tinyllm.eval.task import Item, Task
from tinyllm.files import atomic_write_bytes, parse_json, read_bytes
from tinyllm.runs import Opened
from tinyllm.runs.log import RunLog

CHUNK = 32  # items are asked, and kept, in lists of this length
SHARE = bounded(float, min=0, max=1)
LINE = {"item": str, "text": str, "confidence": SHARE, "ended": bool, "shots": bounded(int, min=0),
        "tokens": bounded(int, min=0)}


def fingerprint(opened: Opened) -> str:
    """Return the SHA-256 of a model, its settings, its tokenizer and its frame."""
    about = opened.tokenizer.fingerprint(), tuple(opened.frame), opened.model.config
    digest = hashlib.sha256(repr(about).encode())
    for name, array in sorted(opened.model.state_dict().items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def name_of(item: Item) -> str:
    """Return a short digest of what an item asks."""
    content = repr((item.question, item.suffix, item.truth, tuple(item.choices)))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


class Kept:
    """The answers of a model to a task, in a file of a folder; each line of JSON has an answer.

    The file's name has a digest of `about`, such as the model's SHA-256, the metric and the shots.
    """

    def __init__(self, folder: Path, title: str, about: Any):
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        words = "".join(c if c.isalnum() else "-" for c in title)[:60]
        self.path = folder / f"{words}-{digest[:16]}.jsonl"

    def read(self, task: Task, items: Sequence[Item], n: int) -> list[Answer]:
        """Return the kept answers, n to each item; a last line that was cut off is forgotten.

        Raises UserError, naming the line, when a line is damaged or answers another question.
        """
        if not os.path.lexists(self.path):
            return []
        whole, _, rest = read_bytes(self.path).rpartition(b"\n")
        lines = whole.split(b"\n") if whole else []
        if rest or len(lines) % n:
            lines = lines[: len(lines) - len(lines) % n]
            atomic_write_bytes(self.path, b"".join(line + b"\n" for line in lines))
        found = []
        for number, line in enumerate(lines[: n * len(items)]):
            item = items[number // n]
            try:
                said = parse_json(line)
                conform(said, LINE)
                if said.pop("item") != name_of(item):
                    raise UserError("answers another question: the task has changed; give another --out")
                found.append(Answer(item, score=task.score(item, said["text"]), **{k: said[k] for k in said}))
            except (UserError, TypeError) as error:
                raise UserError(f"{self.path} line {number + 1} {error}") from None
        return found

    def add(self, answers: Sequence[Answer]) -> None:
        """Append answers to the file. Raises UserError when it cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot keep answers in {self.path}: {error.strerror or error}") from error
        for x in answers:
            said = {name: getattr(x, name) for name in LINE if name != "item"}
            RunLog(self.path).append({"item": name_of(x.item)} | said)


def ask_all(opened: Opened, task: Task, items: Sequence[Item], ask: Callable[..., list[Answer]], *,
            kept: Kept | None = None, tick: Callable[[int], None] = lambda done: None,
            **options: Any) -> list[Answer]:
    """Ask all items of a task that have no kept answers -> all answers, in the order of the items.

    tick(done): is called with the number of items that are answered, after each CHUNK.
    """
    if not items:
        raise UserError(f"{task.name} has no items to ask about")
    n = options.get("n", 1)
    found = kept.read(task, items, n) if kept else []
    for i in range(len(found) // n, len(items), CHUNK):
        tick(i)
        new = ask(opened, task, items[i : i + CHUNK], first=i, **options)
        if kept:
            kept.add(new)
        found += new
    return found
