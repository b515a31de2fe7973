"""Implement `tinyllm arena`, in which a judge compares models' answers, two at a time."""

import os
import re
import sys
from contextlib import nullcontext, suppress
from json import dumps
from pathlib import Path
from typing import Any, Literal

from tinyllm.cli.command import command
from tinyllm.errors import UserError
from tinyllm.files import locked
from tinyllm.report.terminal import indented, paragraph, printable, table

KEYS = {"1": "1", "2": "2", "=": "tie", "q": "", "\x04": ""}  # the last is Ctrl-D


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
