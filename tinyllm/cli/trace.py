"""`tinyllm trace`: what happens inside a model on one text, and where two models first differ."""

import os
import sys
from pathlib import Path

import numpy as np

from tinyllm.cli import add_command
from tinyllm.cli.text import paragraph, printable
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.ops.registry import use
from tinyllm.train import load_run

EXAMPLE = """example:
  tinyllm trace runs/stories-nano --prompt "Once upon a time"
  tinyllm trace --diff runs/stories-nano runs/stories-nano-int8 --prompt "Once"
  tinyllm trace --diff runs/stories-nano --mine 4,6
"""
ABOUT = """Send a text through a trained model and show what happens inside: how surprising each token was and
what the model expected instead, where its heads look, what it would say layer by layer, every op with
shapes and FLOPs, and the KV cache. Writes a page that opens from disk, and prints the same basics.

With --diff, show where two runs first differ on the text, or with --mine your functions and the
library's: which op, in which layer, how much."""


def add_parser(subparsers):
    """Add `tinyllm trace`."""
    what = "show what happens inside a model on a text, or where two differ"
    add = add_command(subparsers, "trace", what, EXAMPLE, ABOUT).add_argument
    add("RUN", nargs="?", help="the folder of a training run")
    add("--prompt", metavar="TEXT", default="", help="the text, or its beginning")
    add("--tokens", metavar="N", type=int, default=20, help="how many tokens the model adds (default 20)")
    add("--temperature", metavar="X", type=float, default=0.0, help="how random they are (default 0)")
    add("--seed", metavar="S", type=int, default=0, help="the same seed writes the same text (default 0)")
    add("--which", choices=("best", "last"), default="best", help="which checkpoint (default best)")
    add("--out", metavar="FILE", help="the page (default RUN/trace.html; with --diff, none)")
    add("--diff", metavar="RUN", nargs="+", help="compare two runs, or one with --mine")
    add("--mine", metavar="N,N", help="compare the library's ops with yours of these lessons")
    subparsers.choices["trace"].set_defaults(run=run)


def run(args):
    """Trace one run, or compare."""
    runs = [folder for folder in [args.RUN, *(args.diff or [])] if folder is not None]
    if not runs:
        raise UserError("give the folder of a run, for example `tinyllm trace runs/stories-nano`")
    if args.diff is None and args.mine is None:
        return run_trace(args)
    if len(runs) != (2 if args.mine is None else 1):
        wanted = "one run, with --mine" if args.mine else "two runs, or one with --mine"
        raise UserError(f"--diff compares {wanted}; got {len(runs)}: {', '.join(runs)}")
    return run_diff(args, runs)


def given_text(args):
    """The prompt as bytes, whatever the terminal passed on. Raises UserError."""
    try:
        return args.prompt.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UserError("the prompt is not valid UTF-8: check the terminal's encoding") from None


def run_trace(args):
    """Examine, print, write the page."""
    from tinyllm.report.trace import examine, take_text
    from tinyllm.report.trace.page import write_page
    from tinyllm.report.trace.terminal import show

    model, tokenizer, _ = load_run(args.RUN, args.which)
    ids, given = take_text(model, tokenizer, given_text(args), args.tokens, args.temperature, args.seed)
    trace = examine(model, tokenizer, ids, given)
    out = Path(args.out or Path(args.RUN) / "trace.html")
    size = write_page(trace, Path(args.RUN).absolute().name, out)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    say(show(trace, colour), colour)
    say(f"\nwrote {out}, {size / 1000:,.0f} kB: open it in a browser")


def run_diff(args, runs):
    """Record both, compare, print, and write a page if one is asked for."""
    from tinyllm.report.trace import take_text
    from tinyllm.report.trace.compare import set_side_by_side
    from tinyllm.report.trace.diffpage import write_comparison
    from tinyllm.report.trace.terminal import show_comparison

    models = [load_run(folder, args.which) for folder in runs]
    model, tokenizer, _ = models[0]
    ids, _ = take_text(model, tokenizer, given_text(args), args.tokens, args.temperature, args.seed)
    if args.mine is None:
        check_alike(runs, models, ids)
        roots, names = [observe(m, ids) for m, _, _ in models], runs
    else:
        *roots, called = observe_mine(args.mine, model, ids)
        names = [f"{runs[0]}, the library's ops", f"{runs[0]}, with your {', '.join(called)}"]
    comparison = set_side_by_side(*roots, ids, *names)
    say(show_comparison(comparison))
    if args.out:
        size = write_comparison(comparison, Path(args.out))
        say(f"\nwrote {args.out}, {size / 1000:,.0f} kB: open it in a browser")


def observe(model, ids):
    """Record one forward pass -> Step."""
    from tinyllm.report.trace import record

    with inference(model), record(model) as root:
        model(np.array([ids]))
    return root


def observe_mine(lessons, model, ids):
    """Record the library's specifications and then a student's functions -> [Step, Step, names of ops].

    Both run on the specifications, so that a student's softmax is met inside attention and the two can be
    compared op by op.
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


def check_alike(runs, models, ids):
    """Raise UserError unless two runs read the same tokens."""
    (_, mine, _), (other, theirs, _) = models
    if mine.fingerprint() != theirs.fingerprint():
        raise UserError(f"{runs[0]} and {runs[1]} have different tokenizers: no text is the same to both")
    if len(ids) > other.config.context:
        raise UserError(
            f"the text has {len(ids)} tokens and the context of {runs[1]} is {other.config.context}: "
            "shorten the prompt, or take fewer --tokens"
        )


def say(text, coloured=False):
    """Print; what is coloured holds no other codes, for tokens are spelled."""
    print(text if coloured else printable(text))
