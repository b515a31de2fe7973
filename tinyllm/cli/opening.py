"""Open a model for the commands `generate` and `chat`, with the options that both share."""

import argparse
import dataclasses
from typing import Any, Literal

from tinyllm.cli.newest import chosen
from tinyllm.cli.text import note
from tinyllm.decode.sampling import Sampling
from tinyllm.runs import Opened, open_model

Which = Literal["best", "last"]  # checkpoint of a run


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands share."""
    add = parser.add_argument
    add("--temperature", metavar="X", type=float, help="0: the likeliest token (default: the model's, or 1)")
    add("--top-k", metavar="K", type=int, help="draw from the K likeliest tokens")
    add("--top-p", metavar="P", type=float, help="draw from the likeliest tokens that together reach P")
    add("--min-p", metavar="P", type=float, help="draw from tokens at least P times as likely as the first")
    add("--repetition-penalty", metavar="X", type=float, help="above 1 makes used tokens rarer")
    add("--seed", metavar="S", type=int, default=0, help="the same seed writes the same text (default 0)")
    add("--bits", type=int, choices=(8, 4), help="round the weights: less memory")
    add("--stop", metavar="STR", action="append", default=[], help="stop before STR (\\n: newline)")


def open_to_write(run: str | None, which: str, values: dict[str, Any],
                  beams: bool = False) -> tuple[Opened, dict[str, Any]]:
    """Open a model, and print the notes about it -> (the opened model, arguments for `stream`).

    `values` are those of the shared options. A beam search draws nothing, so with `beams` the settings of the
    folder for drawing do not count.
    """
    opened = open_model(chosen(run, shipped=True), which, values["bits"])
    for each in opened.notes():
        note(each)
    given = {f.name: values[f.name] for f in dataclasses.fields(Sampling) if values[f.name] is not None}
    sampling = dataclasses.replace(Sampling() if beams else opened.sampling, **given)
    stop = [*(text.replace("\\n", "\n") for text in values["stop"]), *opened.stops]
    return opened, {"sampling": sampling, "stop": stop, "seed": values["seed"]}
