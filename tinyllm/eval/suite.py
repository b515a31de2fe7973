"""Run suites: tables of tasks with metrics, in TOML files, which one call asks a model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

from tinyllm.config import bounded, check, conform, setting
from tinyllm.errors import UserError, did_you_mean, unknown, worded
from tinyllm.eval.ask import POOL, Answer
from tinyllm.eval.changes import SHOTS, changed
from tinyllm.eval.kept import CHUNK, Kept, name_of
from tinyllm.eval.metrics import Metric, find_metric
from tinyllm.eval.statistics import paired
from tinyllm.eval.task import Task, find_task
from tinyllm.files import read_toml
from tinyllm.runs import Opened

FOLDER = Path(__file__).parent / "suites"
EXAMPLES = 2  # questions of a row that a page shows with their answers
LIMIT = 200  # items of a row, unless the table or the caller says another number
NOTHING: dict[str, Any] = {  # what a row shows that this model cannot be asked
    "score": None, "low": None, "high": None, "n": 0, "chance": None, "fewer_shots": 0, "cut_off": 0,
    "tokens": 0, "examples": [], "seconds": 0.0}


@dataclass(frozen=True)
class Row:
    """A row of a suite: what is asked, and what is measured."""

    task: str
    metric: str = "right"
    shots: int = setting(0, min=0)
    change: str = ""  # of questions, see `changes`; "agreement" compares answers with those before the change
    limit: int = setting(0, min=0)
    family: str = ""  # the group under which tables show the row
    note: str = ""  # what it shows, in a few words
    ceiling: float = 1.0  # what the best model could reach

    def __post_init__(self):
        check(self)
        if find_metric(self.metric).compared and not self.change:
            raise UserError(f"{self.metric} compares answers to changed questions: say which change")
        changed(find_task(self.task), self.change, 0)


@dataclass(frozen=True)
class Suite:
    """A named table of rows."""

    name: str
    help: str
    rows: tuple[Row, ...]


def read_suite(name: str, above: tuple[str, ...] = ()) -> Suite:
    """Read a suite that comes with tinyllm, or a TOML file. Raises UserError for what is wrong in it.

    The file has `help`, and `rows`, a table for each `Row`; a field that is a list makes a row of each value.
    It may have `usual`, the fields that most rows have, and `include`, other suites whose rows come first.
    above: the suites that include it.
    """
    if name in above:
        raise UserError(f"{name} includes itself")
    known = sorted(file.stem for file in FOLDER.glob("*.toml"))
    if not name.endswith(".toml") and name not in known:
        raise unknown("suite", name, [*known, "files that end in .toml"])
    path = FOLDER / f"{name}.toml" if name in known else Path(name)
    content = {"include": [], "usual": {}} | read_toml(path)
    with worded(f"{path}: "):
        conform(content, {"help": str, "include": [str], "usual": {},
                          "rows": [{"task": bounded(str | list)}]})
        own = tuple(Row(**dict(zip(row, values, strict=True)))
                    for row in (_known(i, content["usual"] | row) for i, row in enumerate(content["rows"], 1))
                    for values in product(*(each if isinstance(each, list) else [each]
                                            for each in row.values())))
    rows = (*(row for other in content["include"] for row in read_suite(other, (*above, name)).rows), *own)
    if not rows:
        raise UserError(f"{path} has no rows: write rows = [ {{ task = \"world:parity\" }} ]")
    return Suite(path.stem, content["help"], rows)


def _known(number: int, row: dict[str, Any]) -> dict[str, Any]:
    names = [f.name for f in fields(Row)]
    if odd := [name for name in row if name not in names]:
        raise UserError(f"row {number} has a field {odd[0]}{did_you_mean(odd[0], names)}")
    return row


@dataclass
class Evaluation:
    """A model that is asked the rows of a suite; answers that two rows share are asked once."""

    opened: Opened
    folder: Path | None = None  # where answers are kept
    limit: int | None = None  # items of a row
    seed: int = 0
    tick: Callable[[int, int], None] = lambda done, total: None  # gets the thousandths of rows that are done
    scores: dict[Row, list[float]] = field(default_factory=dict)  # of the items of a row
    asked: dict[tuple, list[Answer]] = field(default_factory=dict)

    def __post_init__(self):
        self.model = self.opened.fingerprint() if self.folder else ""
        self.place = 0, 1  # this row, of how many

    def answers(self, row: Row, task: Task, metric: Metric, change: str) -> list[Answer]:
        """Return the answers to a row's questions of a task, changed by `change`."""
        options, limit = metric.options, self.limit or row.limit or LIMIT
        key = (row.task, metric.ask.__name__, repr(options), change, row.shots, limit)
        if key not in self.asked:
            asked, items = changed(task, change, limit)
            if not items:
                raise UserError(f"{row.task} has no items to ask about")
            seed, (at, count), n = self.seed + (change == SHOTS), self.place, options.get("n", 1)
            pool = islice(asked.items("train"), POOL if self.folder and row.shots else 0)
            about = {"model": self.model, "asked": key[:-1], "seed": seed, "pool": [*map(name_of, pool)]}
            kept = Kept(self.folder, f"{row.task} {change}".strip(), about) if self.folder else None
            found = kept.read(asked, items, n) if kept else []
            for i in range(len(found) // n, len(items), CHUNK):
                self.tick(round(1000 * (at + i / len(items))), 1000 * count)
                found += metric.ask(self.opened, asked, items[i : i + CHUNK], row.shots, first=i, seed=seed,
                                    **options)
                if kept:
                    kept.add(found[n * i :])
            self.asked[key] = found
        return self.asked[key]

    def measure(self, row: Row) -> dict[str, Any]:
        """Return what a row shows, in the form of `tinyllm eval --json`.

        Raises UserError when the model cannot be asked.
        """
        began, metric, task = time.perf_counter(), find_metric(row.metric), find_task(row.task, self.opened)
        changes = ("", row.change) if metric.compared else (row.change,)
        *plain, found = (self.answers(row, task, metric, change) for change in changes)
        if plain:  # the opposite question has the opposite answer: then both are right, or both wrong
            found = [replace(y, score=float(x.text.strip() == y.text.strip()
                                            if x.item.truth == y.item.truth else x.score == y.score))
                     for x, y in zip(*plain, found, strict=True)]
        numbers, self.scores[row] = metric.measure(found, self.seed)
        return asdict(row) | numbers | {
            "chance": metric.chance(task.chance, found),
            "ceiling": metric.ceiling(found) if metric.ceiling else row.ceiling,
            "fewer_shots": sum(x.shots < row.shots for x in found),
            "cut_off": sum(not x.ended for x in found), "tokens": sum(x.tokens for x in found),
            "examples": [[x.item.question, x.text, x.score, x.told] for x in found[:EXAMPLES]],
            "seconds": round(time.perf_counter() - began, 3)}

    def rows(self, table: Sequence[Row]) -> list[dict[str, Any]]:
        """Measure all rows; one that this model cannot be asked has the score None, and says `why`."""
        found = []
        for i, row in enumerate(table):
            self.place = i, len(table)
            try:
                found.append(self.measure(row))
            except UserError as error:
                found.append(asdict(row) | NOTHING | {"why": str(error)})
        return found


def compare(found: list[dict], scores: list[list[list[float]]], seed: int = 0) -> list[dict[str, Any]]:
    """Compare each later model with the first, on all rows whose scores are means over the same items.

    The one that is nearer to the ceiling, which may be 0, is better.
    found: {"model": name, "rows": what `rows` returned} of each; scores: those of each row's items.
    """
    first = found[0]
    return [{"row": i, "first": first["model"], "second": other["model"], "task": a["task"],
             "metric": a["metric"], "better": abs(b["score"] - b["ceiling"]) < abs(a["score"] - a["ceiling"])}
            | paired(old, new, seed)
            for other, own in zip(found[1:], scores[1:], strict=True)
            for i, (a, b, old, new) in enumerate(
                zip(first["rows"], other["rows"], scores[0], own, strict=True))
            if old and len(old) == len(new)]
