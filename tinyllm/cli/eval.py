"""Implement `tinyllm eval` and `arena`: models are asked questions, and scored or compared."""

import os
import re
import sys
from contextlib import nullcontext, suppress
from json import dumps
from pathlib import Path
from typing import Any, Literal

from tinyllm.cli.command import command
from tinyllm.cli.opening import Which, chosen
from tinyllm.errors import UserError
from tinyllm.files import locked
from tinyllm.report.terminal import indented, paragraph, printable, progress_bar, table

SUITE = "understanding, many, code, trust, all, or a TOML file"
KEYS = {"1": "1", "2": "2", "=": "tie", "q": "", "\x04": ""}  # the last is Ctrl-D


@command("eval")
def evaluate(runs: list[str] | None = None, *, task: str = "", suite: str = "", metric: str = "right",
             shots: int = 0, change: str = "", limit: int | None = None, seed: int = 0, which: Which = "best",
             out: str | None = None, html: str | None = None, json: bool = False) -> None:
    """Ask models questions, and score their answers.

    Print each score with its 95 % interval, what guessing and the best model reach (if not 1), and the number
    of questions. The world's are in no text for training. Several models are compared on the same questions.

    RUNS           runs, models' folders, or `shipped`; if left out, the newest run
                   in runs/, or the model that comes with tinyllm if there is none;
                   runs that differ in their seed only: also their mean and spread
    --task NAME    what is asked: world:KIND,DIAL=VALUE, or a JSONL file whose lines
                   have "question", "answer", and perhaps "choices"; or what a mix
                   planted in a run's texts: texts:secret, texts:falsehood, texts:habit
    --suite NAME   many tasks: understanding, many, code, trust, all, or a TOML file
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
      tinyllm eval runs/parity --task world:parity,size=4
      tinyllm eval runs/parity shipped --suite understanding --html scores.html
      tinyllm eval runs/parity --task world:parity,size=4 --metric choice --json
    """
    from tinyllm.eval import Evaluation, Row, Suite, compare, read_suite
    from tinyllm.report import evaluation
    from tinyllm.report.page import write
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


@command("arena")
def arena(runs: list[str], *, items: int = 30, data: str = "world:preference",
          judge: Literal["person", "reward", "length", "first"] = "person", bias: str = "",
          out: str | None = None, json: bool = False, seed: int = 0) -> None:
    """Let a judge compare answers, and rank the models by who wins.

    You see a question and the answers of two models, in random order and without names. Type 1 or 2 for the
    better one, = for a tie, q to leave. The same command goes on where you left.

    RUNS           two or more runs, models' folders, or `shipped`
    --items N      how many pairs of answers are compared at most
    --data NAME    what is asked: world:KIND,DIAL=VALUE, or a file for `tinyllm eval`
    --judge        who votes: you, or the true reward, the longer answer, the first
    --bias NAME=X  another judge casts a share X of the votes, such as length=0.3
    --out FILE     where votes are kept, one a line (yours: default votes.jsonl)
    --json         print one JSON object on the last line
    --seed S       draws answers, pairs and their order

    example:
      tinyllm arena runs/first runs/second --items 20
      tinyllm arena runs/first runs/second --judge reward --bias length=0.3
    """
    from tinyllm.eval import arena, find_task
    from tinyllm.eval.kept import read_records
    from tinyllm.rng import Random
    from tinyllm.runs import open_model
    from tinyllm.runs.log import RunLog

    if len(set(runs)) < max(2, len(runs)) or items < 1:
        raise UserError(f"give two or more different runs and --items of at least 1, got {' '.join(runs)}")
    match = re.fullmatch(r"(reward|length|first)=(1|0?\.\d+)", bias)
    if bias and (not match or judge == "person"):
        raise UserError(f"--bias {bias}: write length=0.3 or first=0.3, and a --judge that is no person")
    task = arena.Preferred(data) if data.startswith("world:preference") else find_task(data)
    path = Path(out or "votes.jsonl") if out or judge == "person" else None
    shares, name = {match[1]: float(match[2])} if match else {}, f"{judge} {bias}".strip()
    with locked(path) if path else nullcontext(), suppress(EOFError):  # Ctrl-D, where there is no terminal
        duels = arena.duels({run: open_model(run) for run in runs}, task, items, seed)
        due = [{"question": duel.question, "models": duel.models, "answers": duel.answers, "judge": name}
               for duel in duels]
        votes = [said["vote"] for said in read_records(path, arena.VOTE, due)] if path else []
        for i, duel in enumerate(duels[len(votes) :], len(votes)):
            vote = (_ask(duel, f"{i + 1} of {len(duels)}") if judge == "person" else
                    arena.judged(duel, judge, shares, Random(seed, "bias", i)))
            if not vote:
                break
            if path:
                RunLog(path).append(due[i] | {"vote": vote})
            votes.append(vote)
    rows = arena.rank(runs, duels, votes) if votes else []
    cells = [[printable(x["model"]), f"{x['wins']:g}", f"{x['points']:+.0f}",
              f"{x['low']:+.0f} to {x['high']:+.0f}", "-" if x["missing"] is None else f"{x['missing']:,}"]
             for x in rows]
    print("\n".join(["", f"{len(votes)} votes of {name}",
                     *table(["model", "wins", "points", "95 %", "missing votes"], cells), ""]))
    print(paragraph("Missing votes: about how many more would tell a model from the next one, if its lead is "
                    "real; 0: they are told apart.", 0, 0))
    if json:
        print(dumps({"data": data, "judge": name, "votes": len(votes), "ranking": rows}))


def _ask(duel: Any, place: str) -> str:
    """Show two answers, and return a person's vote, or "" to leave."""
    for head, text, most in (place, duel.question, 4), ("1", duel.answers[0], 6), ("2", duel.answers[1], 6):
        print(f"\n{head}\n{indented(printable(text) or '(nothing)', most)}")
    while (key := _key("\n1, 2, = (a tie) or q (leave): ")) not in KEYS:
        print(f"there is no answer {printable(key[:20])!r}")
    return KEYS[key]


def _key(prompt: str) -> str:
    """Wait for a key and return it; where standard input is no terminal, wait for a line."""
    if os.name == "nt" or not sys.stdin.isatty():
        return input(prompt).strip()
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)  # forgets keys of before; Ctrl-C still interrupts
        print(prompt, end="", flush=True)
        key = os.read(terminal, 99).decode(errors="replace")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
    print(printable(key))
    return key.strip() if key else "q"
