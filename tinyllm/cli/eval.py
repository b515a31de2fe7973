"""Implement `tinyllm eval`, which asks trained models questions whose answers can be scored."""

from contextlib import nullcontext
from json import dumps
from pathlib import Path

from tinyllm.cli.command import command
from tinyllm.cli.opening import Which, chosen
from tinyllm.errors import UserError
from tinyllm.files import locked
from tinyllm.report.terminal import progress_bar


@command("eval")
def evaluate(runs: list[str] | None = None, *, task: str = "", suite: str = "", metric: str = "right",
             shots: int = 0, change: str = "", limit: int | None = None, seed: int = 0, which: Which = "best",
             out: str | None = None, html: str | None = None, json: bool = False) -> None:
    """Ask models questions, and score their answers.

    Print each score with its 95 % interval, what guessing and the best model reach, and the number of
    questions. The world's are in no text for training. Several models are compared on the same questions.

    RUNS           runs, models' folders, or `shipped`; if left out, the newest run
                   in runs/, or the model that comes with tinyllm if there is none;
                   runs that differ in their seed only: also their mean and spread
    --task NAME    what is asked: world:KIND,DIAL=VALUE, or a JSONL file whose lines
                   have "question", "answer", and perhaps "choices"; or what a mix
                   planted in a run's texts: texts:secret, texts:falsehood, texts:habit
    --suite NAME   many tasks: abilities (a page of them, the default), understanding,
                   many, code, trust, all, or a TOML file
    --metric NAME  what a task measures: right (answers that the model writes),
                   tools (the same, and calls of tools are run),
                   choice, choice_token, choice_char, choice_byte (by the
                   log-probability of choices), f1, pass@K, refused, ended,
                   agreement (with the answer to the unchanged question), rude,
                   exposure and habit (of texts:), and of confidence ece, brier,
                   auroc; ece:choice takes that of choices
    --shots K      how many questions with their answers stand before each question
    --change NAME  change the questions: typos, capitals, aside; or shots, the examples
                   before them; or cut programs: body, line, anywhere; or a dial
    --limit N      how many questions are asked (default 200, or the suite's)
    --seed S       chooses the shots
    --which        which checkpoint
    --out DIR      keep all answers there; the same call goes on where it was killed
    --html FILE    write a page with all scores
    --json         print one JSON object on the last line

    example:
      tinyllm train --data world:parity,size=4 --out runs/parity
      tinyllm eval runs/parity
      tinyllm eval runs/parity --task world:parity,size=4
      tinyllm eval runs/parity shipped --suite understanding --html scores.html
      tinyllm eval runs/parity --task world:parity,size=4 --metric choice --json
    """
    from tinyllm.eval import Evaluation, Row, Suite, compare, read_suite
    from tinyllm.report import evaluation
    from tinyllm.report.page import write
    from tinyllm.runs import open_model
    from tinyllm.runs.run import find_origin

    if task and suite:
        raise UserError("give a task, --task world:KIND, or a suite, --suite NAME, but not both")
    suite = suite or ("" if task else "abilities")
    if suite and (shots or change or metric != "right"):
        raise UserError("a suite says its own metrics, shots and changes: leave out --metric, --shots, "
                        "--change")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, got {limit}")
    rows = read_suite(suite) if suite else Suite(task, "", (Row(task, metric, shots, change),))
    if html and (Path(html).is_dir() or not Path(html).absolute().parent.is_dir()):
        raise UserError(f"cannot write {html}: name a file in a folder that there is")
    places = runs or [chosen(None, shipped=True)]
    for place in places:
        find_origin(place)  # also first: a wrong name would fail after others were asked
    found, scores, configs = [], [], []
    if out:
        Path(out).mkdir(parents=True, exist_ok=True)
    with locked(out) if out else nullcontext():
        for place in places:
            opened = open_model(place, which)
            with progress_bar("asked") as move:
                asking = Evaluation(opened, Path(out) if out else None, limit, seed, move)
                measured = asking.rows(rows.rows) if suite else [asking.measure(rows.rows[0])]
            found.append({"model": str(place), "suite": rows.name,
                          "parameters": opened.model.num_parameters(), "rows": measured})
            scores.append([asking.scores.get(row, []) for row in rows.rows])
            configs.append(opened.config)
    pairs = compare(found, scores, seed)
    print("\n".join([*evaluation.lines(found, pairs), *evaluation.spread(found, configs)]))
    if html:
        write(html, evaluation.page(rows, found, pairs))
        print(f"\nsee {html} in a browser")
    if json:
        print(dumps(found[0] if len(found) == 1 else
                    {"suite": rows.name, "models": found, "pairs": pairs}))
