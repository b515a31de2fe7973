"""Implement `tinyllm eval`, which asks trained models questions whose answers can be scored."""

import math
from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.opening import Which, chosen
from tinyllm.errors import UserError
from tinyllm.report.terminal import columns, paragraph, printable, progress_bar, table

SUITE = "understanding, many, code, trust, all, or a TOML file"


@command("eval")
def evaluate(runs: list[str] | None = None, *, task: str = "", suite: str = "", metric: str = "right",
             shots: int = 0, change: str = "", limit: int | None = None, seed: int = 0, which: Which = "best",
             out: str | None = None, html: str | None = None, json: bool = False) -> None:
    """Ask models questions, and score their answers.

    Print each score with its 95 % interval, what guessing reaches, and the number of questions, which are in
    no text for training. Several models are compared on the same questions.

    RUNS           runs, models' folders, or `shipped`; if left out, the newest run
                   in runs/, or the model that comes with tinyllm if there is none;
                   runs that differ in their seed only: also their mean and spread
    --task NAME    what is asked: world:KIND,DIAL=VALUE, or a JSONL file whose lines
                   have "question", "answer", and perhaps "choices"
    --suite NAME   many tasks: understanding, many, code, trust, all, or a TOML file
    --metric NAME  what a task measures: right (answers that the model writes),
                   tools (the same, and calls of tools are run),
                   choice, choice_token, choice_char, choice_byte (by the
                   log-probability of choices), f1, pass@K, refused, ended,
                   agreement (with the answer to the unchanged question), and of
                   confidence ece, brier, auroc; ece:choice takes that of choices
    --shots K      how many questions with their answers stand before each question
    --change NAME  change the questions: typos, capitals, aside; or shots, the examples
                   before them; or cut programs: body, line, anywhere
    --limit N      how many questions are asked (default 200, or the suite's)
    --seed S       chooses the shots
    --which        which checkpoint
    --out DIR      keep all answers there; the same call goes on where it was killed
    --html FILE    write a page with all scores
    --json         print one JSON object on the last line

    example:
      tinyllm train --data world:parity,size=4 --out runs/parity
      tinyllm eval runs/parity --task world:parity,size=4
      tinyllm eval runs/parity shipped --suite understanding --html scores.html
      tinyllm eval runs/parity --task world:parity,size=4 --metric choice --json
    """
    from tinyllm.eval import Evaluation, Row, Suite, read_suite
    from tinyllm.runs import open_model
    from tinyllm.runs.run import find_origin

    if bool(task) == bool(suite):
        raise UserError(f"give a task, --task world:KIND, or a suite, --suite NAME: {SUITE}")
    if suite and (shots or change or metric != "right"):
        raise UserError("a suite says its own metrics, shots and changes: leave out --metric, --shots, "
                        "--change")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, got {limit}")
    rows = read_suite(suite) if suite else Suite(task, "", (Row(task, metric, shots, change),))
    if html and not Path(html).absolute().parent.is_dir():
        raise UserError(f"cannot write {html}: make its folder first")
    places = runs or [chosen(None, shipped=True)]
    for place in places:
        find_origin(place)  # also first: a wrong name would fail after others were asked
    found, scores, configs = [], [], []
    for place in places:
        opened = open_model(place, which)
        with progress_bar("asked") as move:
            asking = Evaluation(opened, Path(out) if out else None, limit, seed, move)
            measured = asking.rows(rows.rows) if suite else [asking.measure(rows.rows[0])]
        found.append({"model": str(place), "suite": rows.name, "parameters": opened.model.num_parameters(),
                      "rows": measured})
        scores.append([asking.scores.get(row, []) for row in rows.rows])
        configs.append(opened.config)
    pairs = compare(found, scores, seed)
    print("\n".join([*lines(found, pairs), *spread(found, configs)]))
    if html:
        from tinyllm.report.evaluation import page
        from tinyllm.report.page import write

        write(html, page(rows, found, pairs))
        print(f"\nsee {html} in a browser")
    if json:
        print(dumps(found[0] if len(found) == 1 else
                    {"suite": rows.name, "models": found, "pairs": pairs}))


def compare(found: list[dict], scores: list[list[list[float]]], seed: int) -> list[dict[str, Any]]:
    """Compare each later model with the first, on all rows whose scores are means over the same items."""
    from tinyllm.eval import paired

    pairs = []
    for model, own in zip(found[1:], scores[1:], strict=True):
        for i, (first, second) in enumerate(zip(scores[0], own, strict=True)):
            if first and len(first) == len(second):
                names = {name: found[0]["rows"][i][name] for name in ("task", "metric")}
                pairs.append({"row": i, "first": found[0]["model"], "second": model["model"], **names}
                             | paired(first, second, seed))
    return pairs


def spread(found: list[dict], configs: list[Any]) -> list[str]:
    """Return the mean, the lowest and the highest score of runs that differ in their seed only, as lines."""
    seeds = {config.seed for config in configs if config}
    if not 1 < len(found) == len(seeds) or len({repr(replace(config, seed=0)) for config in configs}) > 1:
        return []
    rows = []
    for same in zip(*(model["rows"] for model in found), strict=True):
        known = [row["score"] for row in same if row["score"] is not None]
        if len(known) == len(found):
            name, metric, *_ = _cells(same[0], "")
            rows.append([name, metric, f"{math.fsum(known) / len(known):.3f}",
                         f"{min(known):.3f} to {max(known):.3f}"])
    return ["", *table([f"{len(found)} seeds", "metric", "mean", "lowest to highest"], rows, "<<<<")]


def lines(found: list[dict], pairs: list[dict]) -> list[str]:
    """Return the scores of the models as lines of text."""
    said, several = [], len(found) > 1
    for model in found:
        own = [pair for pair in pairs if pair["second"] == model["model"]]
        apart = {x["row"]: " better" if x["difference"] > 0 else " worse" for x in own if x["p"] < 0.05}
        said += [f"{printable(model['model'])}, {model['parameters']:,} parameters"]
        cells = [_cells(row, apart.get(i, "")) for i, row in enumerate(model["rows"])]
        head = ["task", "metric", "score", "95 %", "chance", "n"]
        widest = columns() - max(sum(map(len, others)) for _, *others in [head, *cells]) - 14
        said += table(head, [[_cut(name, max(16, widest)), *others] for name, *others in cells], "<<<<>>")
        said += [*_notes(model["rows"]), ""]
    if several and pairs:
        said.append(paragraph(f"better, worse: than {printable(found[0]['model'])} on the same questions "
                              "(p < 0.05 by a paired test, each row for itself)", further=0))
    return said if said[-1] else said[:-1]


def _cells(row, apart):
    """Return the cells of a row; `apart` says if it differs from the first model."""
    name = row["task"].removeprefix("world:") + (f" ({row['change']})" if row["change"] else "")
    name += f" {row['shots']}-shot" if row["shots"] else ""
    if row["score"] is None:
        return [name, row["metric"], "-", "", "", str(row["n"] or "")]
    low, high, chance = (math.nan if row[key] is None else row[key] for key in ("low", "high", "chance"))
    return [name, row["metric"], f"{row['score']:.3f}{apart}", f"{low:.3f} to {high:.3f}",
            "" if math.isnan(chance) else f"{chance:.3f}", str(row["n"])]


def _cut(text, room):
    return printable(text if len(text) <= room else f"{text[: room - 3]}...")


def _notes(rows):
    """Say what is missing, cut off, or asked with fewer shots."""
    notes = {}
    for row in rows:
        name = row["task"].removeprefix("world:")
        if "why" in row:
            notes.setdefault(f"missing: {row['why']}", []).append(name)
        elif row["fewer_shots"]:
            notes.setdefault("fewer shots, because not all fit into the context", []).append(
                f"{name} ({row['fewer_shots']} questions)")
        if row.get("cut_off", 0) > row["n"] / 10:
            notes.setdefault("answers cut off before their end", []).append(f"{name} ({row['cut_off']})")
    return [paragraph(printable(f"{', '.join(names[:4])}{', ...' if names[4:] else ''}: {why}"))
            for why, names in notes.items()]
