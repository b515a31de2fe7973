"""Choose a run for the commands whose RUN may be left out; open a model for `generate` and `chat`."""

import argparse
import dataclasses
import sys
from typing import Any, Literal

from tinyllm.decode.sampling import Sampling
from tinyllm.decode.speculative import DraftModel, Lookup
from tinyllm.errors import UserError, worded
from tinyllm.models.registry import SHIPPED
from tinyllm.nn import pack_cache
from tinyllm.nn.cache import CODECS
from tinyllm.runs import Opened, list_runs, open_model

Which = Literal["best", "last"]  # checkpoint of a run
ABOUT_SHIPPED = "the shipped model: 1.0M parameters; it knows only the world's stories"


def chosen(run: str | None, shipped: bool = False) -> str:
    """Return `run`; if it is None, print to stderr and return the newest run in runs/ with a checkpoint.

    If there is none, raise UserError, or with `shipped` return the name of the model in this package.
    """
    if run is not None:
        return run
    newest = next((str(found.folder) for found in list_runs() if found.last_checkpoint()), None)
    if newest is None and not shipped:
        raise UserError("runs/ has no run with a checkpoint: give a folder, or make one with `tinyllm train`")
    print(f"{newest}, the newest run" if newest else ABOUT_SHIPPED, file=sys.stderr, flush=True)
    return newest or SHIPPED.name


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that `generate` and `chat` share."""
    add = parser.add_argument
    add("--temperature", metavar="X", type=float, help="0: the likeliest token (default: the model's, or 1)")
    add("--top-k", metavar="K", type=int, help="draw from the K likeliest tokens")
    add("--top-p", metavar="P", type=float, help="draw from the likeliest tokens that together reach P")
    add("--min-p", metavar="P", type=float, help="draw from tokens at least P times as likely as the first")
    add("--repetition-penalty", metavar="X", type=float, help="above 1 makes used tokens rarer")
    add("--seed", metavar="S", type=int, default=0, help="the same seed writes the same text (default 0)")
    add("--bits", type=int, choices=(8, 4), help="round the weights as they are read: less memory")
    add("--cache", choices=CODECS, default="float32", help="how keys and values are stored: less memory")
    add("--draft", metavar="RUN|lookup", help="a small model, or the text so far, proposes tokens: faster")
    add("--stop", metavar="STR", action="append", default=[], help="stop before STR (\\n: newline)")


def open_packed(run: str, cache: str, *more: Any) -> Opened:
    """Open a model whose new keys and values are stored as `cache` says; `more` goes to `open_model`."""
    opened = open_model(run, *more)
    with worded(f"--cache {cache} with {run}: "):
        pack_cache(opened.model, cache)
    return opened


def open_to_write(run: str | None, which: str, values: dict[str, Any],
                  beams: bool = False) -> tuple[Opened, dict[str, Any]]:
    """Open a model -> (the opened model, arguments for `stream`).

    values: the values of the options from `add_sampling`. beams: True for a beam search, which ignores the
    sampling settings of the model's folder, because it draws no tokens.
    """
    if beams and values["draft"]:
        raise UserError("--beams compares whole texts, so nothing can be proposed: leave out --draft")
    opened = open_packed(chosen(run, shipped=True), values["cache"], which, values["bits"])
    given = {f.name: values[f.name] for f in dataclasses.fields(Sampling) if values[f.name] is not None}
    sampling = dataclasses.replace(Sampling() if beams else opened.sampling, **given)
    stop = [*(text.replace("\\n", "\n") for text in values["stop"]), *opened.stops]
    draft = values["draft"] and _open_draft(values["draft"], opened, values["bits"])
    return opened, {"sampling": sampling, "stop": stop, "seed": values["seed"], "draft": draft}


def _open_draft(name: str, opened: Opened, bits: int | None) -> Lookup | DraftModel:
    """Open what proposes tokens to a model: a look-up, or a model with the same tokenizer."""
    if name == "lookup":
        return Lookup()
    small = open_model(name, "best", bits)
    if small.tokenizer.fingerprint() != opened.tokenizer.fingerprint():
        raise UserError(f"{name} has other tokens than the model: as a draft, take one that was trained with "
                        "the model's tokenizer.json")
    return DraftModel(small.model)
