"""Implement `tinyllm inspect`, which shows the parts and costs of a model, or compares two models."""

import os
from contextlib import nullcontext
from dataclasses import asdict
from json import dumps
from typing import Any

from tinyllm.bench.machine import Roof, measure_roof
from tinyllm.bench.rows import speeds
from tinyllm.cli.command import command
from tinyllm.cli.opening import chosen
from tinyllm.errors import UserError
from tinyllm.models import build, family, from_pretrained, locate
from tinyllm.nn import without_memory
from tinyllm.report.summary import costs, differences, drawing, explanations, settings_that_differ, summarise
from tinyllm.report.terminal import entry, printable, table
from tinyllm.runs import Run

VOCABULARY = 1024  # tokens in the vocabulary of a model that is built from a family's name
COUNTED = {"parameters": "parameters", "active": "parameters that a token uses",
           "weight_bytes": "bytes of weights", "cache_bytes": "bytes of keys and values a token",
           "flops": "FLOPs to read the last token", "prompt_flops": "FLOPs a token, mean of a prompt",
           "read_bytes": "weight bytes that a token reads",
           "context_bytes": "cache bytes, full context", "memory": "bytes of weights and cache"}


@command("inspect")
def inspect(model: str | None = None, *, diff: list[str] | None = None, preset: str = "nano",
            json: bool = False, measure: bool = False, price_per_hour: float = 0.1) -> None:
    """Show the parts of a model and what they cost.

    Say what each part does, and count parameters, bytes and operations, those for the last token of
    a full context. Predict from this machine's roof (see `tinyllm bench`) how fast one text is read and
    written, and what 1,000 tokens cost.
    With --diff, compare two models: - marks what only the first has, + what only the second has.

    MODEL          a run, a model's folder, `shipped`, or a family such as llama; if
                   left out, the newest run in runs/, or `shipped` if there is none
    --diff M ...   the models to compare
    --preset NAME  the sizes of a family that is given by its name
    --json         print the costs as one JSON object
    --measure      measure the speeds, too
    --price-per-hour P  of this machine, in any currency (default 0.1, an example)

    example:
      tinyllm inspect shipped
      tinyllm inspect --diff gpt llama
      tinyllm inspect runs/stories-laptop --json
    """
    if diff is not None:
        names = [name for name in (model, *diff) if name is not None]
        if len(names) != 2:
            kinds = "a run, a model's folder, `shipped`, or a family such as llama"
            raise UserError(f"--diff compares two models, each {kinds}; got {len(names)}")
        _show_difference(names, *(open_or_build(name, preset) for name in names))
        return
    if not 0 <= price_per_hour < float("inf"):
        raise UserError(f"--price-per-hour must be 0 or more, got {price_per_hour:g}")
    found = open_or_build(chosen(model, shipped=True), preset, measure)
    roof = measure_roof(0.3)
    rows = _speeds(found, roof, measure, price_per_hour)
    if json:
        print(dumps({"model_type": found.model_type, "config": asdict(found.config)} | asdict(costs(found))
                    | {"roof": asdict(roof), "speeds": rows}))
        return
    print(*drawing(found), sep="\n", end="\n\n")
    _explain(explanations(found))
    print(summarise(found, 1, found.config.context), end="\n\n")
    print(*table(["", found.model_type], _counted(found)), sep="\n")
    if rows:
        cells = [[what, *(f"{n:,.7f}" if n < 1 else f"{n:,.1f}" for n in row.values() if n is not None)]
                 for what, row in rows.items()]
        print(f"\nFor one text, on {roof.gflops:.0f} GFLOP/s and {roof.gb_per_second:.1f} GB/s, "
              f"at a price of {price_per_hour:g} an hour:")
        print(*table(["", "predicted", *["measured"] * measure], cells), sep="\n")


def _speeds(model: Any, roof: Roof, measure: bool, price: float) -> dict[str, dict[str, float | None]]:
    """Return what was predicted and measured of speeds and prices, without a roof nothing."""
    rows = {}
    for name, pair in speeds(model, roof, measure).items():
        prices = [rate and price / 3600 * 1000 / rate for rate in pair]
        for what, numbers in ((f"tokens {name} a second", pair), (f"price of 1,000 tokens {name}", prices)):
            rows[what] = dict(zip(("predicted", "measured"), numbers, strict=True))
    return rows


def open_or_build(name: str, preset: str, weights: bool = False) -> Any:
    """Open a model, or build one if `name` is a family, without memory for its weights unless asked."""
    if os.path.exists(locate(name)) or os.sep in name:
        return from_pretrained(Run(locate(name)).model_folder())
    cls = family(name)
    if preset not in cls.PRESETS:
        raise UserError(f"{name} has no preset {preset!r}; it has {', '.join(cls.PRESETS)}")
    settings = {"model_type": cls.model_type, "vocab_size": VOCABULARY} | cls.PRESETS[preset]
    with nullcontext() if weights else without_memory():
        return build(settings, seed=0 if weights else None)


def _explain(said: dict[str, str]) -> None:
    for name, sentence in said.items():
        print(entry(f"{name:18} ", sentence))
    if said:
        print()


def _counted(*models: Any) -> list[list[str]]:
    """Return a row for each cost, with a column for each model."""
    counts = [asdict(costs(model)) for model in models]
    return [[what, *(f"{c[field] or 0:,}" for c in counts)] for field, what in COUNTED.items()]


def _show_difference(names: list[str], one: Any, other: Any) -> None:
    print(printable("- {}\n+ {}\n".format(*names)))
    print(*differences(one, other), sep="\n", end="\n\n")
    said, others = explanations(one), explanations(other)
    _explain({name: text for name, text in (said | others).items() if (name in said) != (name in others)})
    rows = [*map(list, settings_that_differ(one.config, other.config)), *_counted(one, other)]
    print(*table(["", *map(printable, names)], rows), sep="\n")
