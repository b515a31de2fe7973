"""Implement `tinyllm trace`, which shows what happens inside a model, and where two models differ."""

import math
from pathlib import Path
from typing import Any, Literal

from tinyllm.cli.command import command
from tinyllm.cli.newest import chosen
from tinyllm.cli.text import typed
from tinyllm.course.plugins import idle, load_parts, parse_lessons, plug_in
from tinyllm.course.workspace import find_workspace
from tinyllm.errors import UserError
from tinyllm.ops.registry import use
from tinyllm.report.terminal import paragraph, printable
from tinyllm.report.tokens import label
from tinyllm.report.trace import describe_differences, examine, observe, take_text
from tinyllm.report.trace.page import write_page
from tinyllm.runs import Opened, open_model
from tinyllm.train.evaluate import perplexity


@command("trace")
def trace(run: str | None = None, *, prompt: str = "", tokens: int = 20, temperature: float = 0.0,
          seed: int = 0, which: Literal["best", "last"] = "best", out: str | None = None,
          diff: list[str] | None = None, mine: str | None = None) -> None:
    """Show what happens inside a model on a text, or where two models differ.

    Write an HTML page: how surprising each token was and what the model expected instead, where its heads
    look, what each layer would predict, every op with shapes and FLOPs, and the KV cache.

    With --diff RUN RUN, show where two runs first differ on the text: which op, in which layer, how much.
    With --diff RUN --mine N, compare your functions with the library's in the same way.

    RUN              a run, or `shipped`; the newest in runs/ if not given
    --prompt TEXT    the text, or its beginning
    --tokens N       how many tokens the model adds
    --temperature X  how random these tokens are
    --seed S         the same seed writes the same text
    --which          which checkpoint
    --out FILE       the page (default RUN/trace.html); --diff writes no page
    --diff RUN ...   compare two runs, or one run with --mine
    --mine N,N       compare the library's ops with yours from these lessons

    example:
      tinyllm trace runs/stories-laptop --prompt "Once upon a time"
      tinyllm trace --diff runs/stories-laptop runs/stories-laptop-int8 --prompt A
      tinyllm trace --diff runs/stories-laptop --mine 4,6
    """
    compared = diff is not None or mine is not None
    named = [folder for folder in [run, *(diff or [])] if folder is not None]
    runs = named if compared else [chosen(run, shipped=True)]
    if compared and len(runs) != (2 if mine is None else 1):
        wanted = "one run, with --mine" if mine else "two runs, or one with --mine"
        raise UserError(f"--diff compares {wanted}; got {len(runs)}: {', '.join(runs)}")
    if compared and out is not None:
        raise UserError("--diff prints what differs and writes no page: leave out --out")
    opened = [open_model(folder, which) for folder in runs]
    first = opened[0]
    ids, given = take_text(first.model, first.tokenizer, typed(prompt), tokens, temperature, seed)
    if mine is not None:
        lines = compare_mine(mine, runs[0], first.model, ids)
    elif diff is not None:
        lines = compare_runs(runs, opened, ids)
    else:
        folder = Path(runs[0]) if Path(runs[0]).is_dir() else Path()  # the shipped model has no folder here
        lines = write_trace(runs[0], first, ids, given, Path(out or folder / "trace.html"))
    if not prompt:
        lines.append(paragraph("without --prompt the model makes up a text, "
                               "which begins behind an end of line (↵)"))
    print(printable("\n".join(lines)))


def write_trace(run: str, opened: Opened, ids: list[int], given: int, out: Path) -> list[str]:
    """Record what a model does with a text, write the page, and return lines that summarise it."""
    found = examine(opened.model, opened.tokenizer, ids, given)
    size = write_page(found, Path(run).absolute().name, out)
    lines = [f"wrote {out}, {size / 1000:,.0f} kB: open it in a browser"]
    if len(ids) == 1:
        return lines
    mean, worst = float(found.predicted.mean()), found.most_surprising
    name, nats = label(found.names[ids[worst]]), found.surprisal[worst]
    return [f"{len(ids)} tokens: mean surprisal {mean:.4f} nats, perplexity {perplexity(mean)}",
            f"most surprising: token {worst}, {name}, {nats:.2f} nats, probability {math.exp(-nats):.4f}",
            *lines]


def compare_runs(runs: list[str], opened: list[Opened], ids: list[int]) -> list[str]:
    """Record what two models do with a text, and return lines that say where they first differ."""
    one, other = opened
    if one.tokenizer.fingerprint() != other.tokenizer.fingerprint():
        raise UserError(f"{runs[0]} and {runs[1]} have different tokenizers: no text is the same to both")
    if len(ids) > other.model.config.context:
        raise UserError(
            f"the text has {len(ids)} tokens and the context of {runs[1]} is {other.model.config.context}: "
            "shorten the prompt, or take fewer --tokens"
        )
    return [describe_differences(observe(one.model, ids), observe(other.model, ids), ids, *runs)]


def compare_mine(lessons: str, run: str, model: Any, ids: list[int]) -> list[str]:
    """Return lines that say where the student's ops first differ from the library's.

    All other ops run on their specifications. So attention calls the student's softmax, and the two passes
    can be compared op by op.
    """
    parts, skipped = load_parts(parse_lessons([lessons]), find_workspace())
    with use("numpy"):
        ours = observe(model, ids)
        with plug_in(parts):
            yours = observe(model, ids)
    reader = "a model that reads a text"
    called = ", ".join(part.op for part in parts if part.calls)
    if not called:
        raise UserError(f"{reader} does not call {', '.join(part.op for part in parts)}: nothing to compare")
    names = f"{run}, the library's ops", f"{run}, with your {called}"
    notes = map(paragraph, [*skipped, *idle(parts, reader)])
    return [*notes, describe_differences(ours, yours, ids, *names)]
