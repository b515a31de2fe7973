"""Implement `tinyllm plan`, which predicts what training costs on many devices, and finds the best grid."""

from dataclasses import asdict, fields, replace
from json import dumps
from types import SimpleNamespace
from typing import Any

from tinyllm.cli.command import command
from tinyllm.cli.inspect import open_or_build
from tinyllm.errors import UserError, unknown, worded
from tinyllm.models import family
from tinyllm.nn import DecoderLM
from tinyllm.nn.module import forward_flops
from tinyllm.parallel.simulate import Grid, Work, best_grid, machines, scaling
from tinyllm.report import page
from tinyllm.report.svg import Series, chart
from tinyllm.report.terminal import paragraph, short, table

HEAD = 128  # the width of a head, and about the width divided by the layers, as in GPT-3
FAILURE = 54 * 24 * 16384 / 419  # hours of a device: Llama 3, arXiv:2407.21783, 2024, section 3.3.4
LIMITS = {"params": (1e8, 1e13), "active": (1e8, 1e13), "nodes": (1, 2**16), "devices": (1, 2**10),
          "context": (1, 2**20), "batch": (1, 1e12), "tokens": (1, 1e18), "price_per_hour": (0, 1e9)}
NOTE = "Strong scaling keeps the batch; weak scaling keeps the batch of a node."
SCALING = ["nodes", "strong: s a step", "used", "weak: s a step", "used"]


@command("plan")
def plan(*, model: str = "llama", params: float | None = None, active: float | None = None,
         preset: str | None = None, machine: str = "h100", nodes: int = 1, devices: int | None = None,
         grid: list[str] | None = None, context: int | None = None, batch: float = 2**22,
         tokens: float = 2e12, price_per_hour: float = 1.0, html: str | None = None,
         json: bool = False) -> None:
    """Predict what training costs on many devices, and find the best grid.

    Strong scaling keeps the batch; weak scaling keeps the batch of a node. Machines' figures are published
    ones. Days and price are those of a training without failures.

    --model M       a run, a model's folder, or a family such as llama
    --params N      parameters, such as 7e9, of a gpt2 or llama in a usual shape (default:
                    those of the model)
    --active N      how many of them a token uses, in a mixture of experts
    --preset NAME   the sizes of a family (small)
    --machine NAME  a100, h100, h800 or b200
    --nodes N       how many nodes
    --devices N     in a node (default: as many as the machine has)
    --grid K=V ...  fix data, tensor, pipeline, micro (sequences at once), zero or
                    checkpoint (1: yes)
    --context T     tokens of a sequence (default: the model's, and 2048 with --params)
    --batch N       tokens of a step
    --tokens N      tokens of the whole training
    --price-per-hour P  of one device, in any currency
    --html F        write a page with charts
    --json          print one JSON object

    examples:
      tinyllm plan --model gpt2 --machine a100 --devices 1 --tokens 10e9
      tinyllm plan --params 7e9 --nodes 512 --price-per-hour 2
      tinyllm plan --params 405e9 --nodes 2048 --batch 16e6 --tokens 15e12
      tinyllm plan --params 671e9 --active 37e9 --machine h800 --nodes 256
    """
    given = params, active, nodes, devices, context, batch, tokens, price_per_hour
    for (name, (low, high)), value in zip(LIMITS.items(), given, strict=True):
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} must be from {low:g} to {high:g}, got {value:g}")
    if active and active > (params or 0):
        raise UserError(f"--active {active:g} must be a part of --params")
    work, fixed, known = _work(model, preset, params, active, context, batch), _fixed(grid or []), machines()
    if machine not in known:
        raise unknown("machine", machine, known)
    on = replace(known[machine], devices=devices or known[machine].devices)
    rows = scaling(on, work, nodes, fixed)
    enough = next((row["nodes"] for row in rows if row["strong"]), 0)
    with worded("", f"; --nodes {enough} would do" * (enough > nodes)):
        best, cost = best_grid(on, work, nodes, fixed)
    hours = tokens / (work.batch * work.context) * cost.seconds / 3600
    hourly = nodes * on.devices * price_per_hour
    facts = [
        ["model", f"{short(work.parameters)} parameters, {work.config.layers} layers of {work.config.width}"],
        ["devices", f"{nodes * on.devices:,}, in nodes of {on.devices}"],
        ["best grid", " ".join(f"{name}={value}" for name, value in asdict(best).items())],
        ["a step", f"{cost.seconds:,.4g} s for {work.batch:,} x {work.context:,} tokens"],
        ["training", f"{hours / 24:,.4g} days for {short(tokens)} tokens"],
        ["price", f"{hourly:,.2f} an hour, {hourly * 8766:,.0f} a year, {hours * hourly:,.0f} in all"],
        ["used", f"{100 * cost.utilization:.1f} % of the peak, {100 * cost.bubble:.1f} % bubble"],
        ["memory", f"{cost.memory / 1e9:,.3g} of {on.memory / 1e9:,.3g} GB of a device"],
        ["sent a step", f"{cost.sent / 1e9:,.1f} GB by a device, {cost.network / 1e9:,.1f} GB between nodes"],
        ["failures", f"one in {FAILURE / nodes / on.devices:,.1f} hours, at Llama 3's rate; not in the days"],
    ]
    cells = [[f"{row['nodes']:,}", *_cells(row["strong"]), *_cells(row["weak"])] for row in rows]
    if html:
        charts = [_chart(rows, what) for what in ("seconds", "utilization")]
        body = [page.table("plan", ["", machine], facts),
                page.section("On 1 to 4,096 nodes", NOTE, *charts, page.table("scaling", SCALING, cells))]
        page.write(html, page.assemble(f"Training on {machine}", "Predicted by tinyllm plan.", body,
                                       "; ".join(on.sources)))
    if json:
        print(dumps({"work": work, "machine": on, "grid": best, "cost": cost, "hours": hours,
                     "price": hours * hourly, "scaling": rows}, default=vars))
    else:
        print(*table(["", machine], facts, "<<"), "", *table(SCALING, cells), sep="\n")
        print(*map(paragraph, on.sources), sep="\n")


def _fixed(grid: list[str]) -> dict[str, int]:
    """Read ["data=2", "tensor=8"] -> {"data": 2, "tensor": 8}."""
    names, pairs = [field.name for field in fields(Grid)], [text.partition("=")[::2] for text in grid]
    for name, value in pairs:
        allowed = map(str, range(2) if name in ("zero", "checkpoint") else range(1, 2**16 + 1))
        if name not in names or value not in allowed:
            raise UserError(f"--grid takes {', '.join(names)}, as in tensor=8 or zero=0 (or 1), "
                            f"got {f'{name}={value}'[:40]!r}")
    return {name: int(value) for name, value in pairs}


def _work(model: str, preset: str | None, params: float | None, active: float | None, context: int | None,
          batch: float) -> Work:
    """Open a model, or take the sizes of one in which a token uses 12 width^2 parameters of each layer."""
    if params is None:
        found = open_or_build(model, preset or "small")
        if not isinstance(found, DecoderLM):
            raise UserError(f"{found.model_type} does not write token by token: take one that does, as llama")
        context = context or found.config.context
        sizes, count, flops = found.config, float(found.num_parameters()), forward_flops(found, context)
    else:
        if family(model) not in map(family, ("gpt2", "llama")) or preset:
            raise UserError("--params makes a gpt2 or llama of a usual shape: leave out --preset, and models "
                            "of other families")
        count, used, context = params, active or params, context or 2048
        heads = 8 * round((used / 12 / HEAD**2) ** (1 / 3) / 8)  # many grids divide 8 heads, and 4 layers
        layers, width = 4 * round(used / 48 / (HEAD * heads) ** 2), HEAD * heads
        sizes = SimpleNamespace(layers=layers, heads=heads, width=width, vocab_size=32000)
        flops = round(2 * used * context + 2 * layers * width * context**2)  # products, and causal attention
    return Work(sizes, count, flops, context, max(1, round(batch / context)))


def _cells(cost: Any) -> list[str]:
    return [f"{cost.seconds:,.4g}", f"{100 * cost.utilization:.1f} %"] if cost else ["no grid fits", ""]


def _chart(rows: list[dict[str, Any]], what: str) -> page.Html:
    series = [Series(kind, [(row["nodes"], getattr(row[kind], what)) for row in rows if row[kind]], style)
              for kind, style in (("strong", "train"), ("weak", "val"))]
    unit = {"seconds": "s a step", "utilization": "of the peak"}[what]
    return chart(what, "strong and weak scaling", series, f"{unit}, by nodes", what == "seconds", log_x=True)
