"""Implement `tinyllm trace`, which shows what happens inside a model, and where two models differ."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tinyllm.cli.command import command
from tinyllm.cli.newest import chosen
from tinyllm.cli.text import typed
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.ops.registry import use
from tinyllm.report.terminal import paragraph, printable
from tinyllm.report.tokens import label
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
    from tinyllm.report.trace import take_text

    compared = diff is not None or mine is not None
    named = [folder for folder in [run, *(diff or [])] if folder is not None]
    runs = named if compared else [chosen(run, shipped=True)]
    if compared and len(runs) != (2 if mine is None else 1):
        wanted = "one run, with --mine" if mine else "two runs, or one with --mine"
        raise UserError(f"--diff compares {wanted}; got {len(runs)}: {', '.join(runs)}")
    if compared and out is not None:
        raise UserError("--diff prints what differs and writes no page: leave out --out")
    opened = [open_model(folder, which) for folder in runs]
    model, tokenizer = opened[0].model, opened[0].tokenizer
    ids, given = take_text(model, tokenizer, typed(prompt), tokens, temperature, seed)
    if compared:
        show_difference(runs, opened, ids, mine)
    else:
        folder = Path(runs[0]) if Path(runs[0]).is_dir() else Path()  # the shipped model has no folder here
        show_trace(runs[0], model, tokenizer, ids, given, Path(out or folder / "trace.html"))
    if not prompt:
        say(paragraph("without --prompt the model makes up a text, which begins behind an end of line (↵)"))


def show_trace(run: str, model: Any, tokenizer: Any, ids: list[int], given: int, out: Path) -> None:
    """Record what a model does with a text, write the page, and print a summary."""
    from tinyllm.report.trace import examine
    from tinyllm.report.trace.page import write_page

    found = examine(model, tokenizer, ids, given)
    size = write_page(found, Path(run).absolute().name, out)
    if len(ids) > 1:
        mean, worst = float(found.predicted.mean()), found.most_surprising
        name, nats = label(found.names[ids[worst]]), found.surprisal[worst]
        say(f"{len(ids)} tokens: mean surprisal {mean:.4f} nats, perplexity {perplexity(mean)}")
        say(f"most surprising: token {worst}, {name}, {nats:.2f} nats, probability {math.exp(-nats):.4f}")
    say(f"wrote {out}, {size / 1000:,.0f} kB: open it in a browser")


def show_difference(runs: list[str], opened: list[Opened], ids: list[int], mine: str | None) -> None:
    """Record what two models do with a text, and print where they first differ."""
    from tinyllm.report.trace.compare import compare_captures

    if mine is None:
        check_alike(runs, opened, ids)
        a, b, names = observe(opened[0].model, ids), observe(opened[1].model, ids), runs
    else:
        a, b, called = observe_mine(mine, opened[0].model, ids)
        names = [f"{runs[0]}, the library's ops", f"{runs[0]}, with your {', '.join(called)}"]
    say(str(compare_captures(a, b, ids, names[0], names[1])))


def observe(model: Any, ids: list[int]) -> Any:
    """Record one forward pass, with all its ops, as a TracedCall."""
    from tinyllm.report.trace import capture

    with inference(model), capture(model) as root:
        model(np.array([ids]))
    return root


def observe_mine(lessons: str, model: Any, ids: list[int]) -> list:
    """Return a pass with the library's ops, a pass with the student's, and the names of these ops.

    All other ops run on their specifications. So attention calls the student's softmax, and the two passes
    can be compared op by op.
    """
    from tinyllm.course.plugins import idle, load_parts, parse_lessons, plug_in
    from tinyllm.course.workspace import find_workspace

    parts, skipped = load_parts(parse_lessons([lessons]), find_workspace())
    with use("numpy"):
        ours = observe(model, ids)
        with plug_in(parts):
            yours = observe(model, ids)
    reader = "a model that reads a text"
    called = [part.op for part in parts if part.calls]
    if not called:
        names = ", ".join(part.op for part in parts)
        raise UserError(f"{reader} does not call {names}: nothing to compare")
    for line in [*skipped, *idle(parts, reader)]:
        say(paragraph(line))
    return [ours, yours, called]


def check_alike(runs: list[str], opened: list[Opened], ids: list[int]) -> None:
    """Raise UserError if two runs have different tokenizers, or a context too short for the text."""
    one, other = opened
    if one.tokenizer.fingerprint() != other.tokenizer.fingerprint():
        raise UserError(f"{runs[0]} and {runs[1]} have different tokenizers: no text is the same to both")
    if len(ids) > other.model.config.context:
        raise UserError(
            f"the text has {len(ids)} tokens and the context of {runs[1]} is {other.model.config.context}: "
            "shorten the prompt, or take fewer --tokens"
        )


def say(text: str) -> None:
    """Print a text with its control characters replaced."""
    print(printable(text))
