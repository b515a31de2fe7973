"""Implement `tinyllm plan`, which predicts what training costs on many devices, and finds the best grid."""

from dataclasses import asdict, fields, replace
from json import dumps
from typing import Any, Literal

from tinyllm.bench.machine import measure_roof
from tinyllm.bench.rows import trainer
from tinyllm.cli.command import command
from tinyllm.cli.inspect import open_or_build
from tinyllm.errors import UserError, did_you_mean
from tinyllm.models import build, family
from tinyllm.nn import DecoderLM
from tinyllm.nn.init import without_memory
from tinyllm.nn.module import forward_flops
from tinyllm.ops import runtime
from tinyllm.parallel.simulate import Grid, Machine, Work, best_grid, machines, scaling
from tinyllm.report import page
from tinyllm.report.svg import Series, chart
from tinyllm.report.terminal import paragraph, short, table
from tinyllm.train.memory import free_memory

HEAD = 128  # the width of a head, and about the width divided by the layers, as in GPT-3
LIMITS = {"params": (1e6, 1e13), "nodes": (1, 2**16), "context": (1, 2**20), "batch": (1, 1e12),
          "tokens": (1, 1e18), "price_per_hour": (0, 1e9)}
SCALING = ["nodes", "strong: s a step", "used", "weak: s a step", "used"]


@command("plan")
def plan(*, model: str = "llama", params: float | None = None, preset: str = "small", machine: str = "h100",
         nodes: int = 1, grid: list[str] | None = None, context: int | None = None, batch: float = 2**22,
         tokens: float = 2e12, precision: Literal["bf16", "float32"] | None = None,
         price_per_hour: float = 1.0, html: str | None = None, json: bool = False) -> None:
    """Predict what training costs on many devices, and find the best grid.

    Strong scaling keeps the batch; weak scaling keeps the batch of a node. Machines' figures are published
    ones; those of `here`, this machine, are measured, with a process for each device of the grid.

    --model M       a run, a model's folder, or a family such as llama
    --params N      the parameters of a family's model, such as 7e9 (default: a preset)
    --preset NAME   the sizes of a family
    --machine NAME  a100, h100, tpu-v4, tpu-v5p or here
    --nodes N       how many nodes
    --grid K=V ...  fix data, tensor, pipeline, micro (sequences at once), zero or
                    checkpoint (1: yes)
    --context T     tokens of a sequence (default: the model's, and 2048 with --params)
    --batch N       tokens of a step
    --tokens N      tokens of the whole training
    --precision P   of numbers (default bf16, and float32 for `here`)
    --price-per-hour P  of one device, in any currency
    --html F        write a page with charts
    --json          print one JSON object

    examples:
      tinyllm plan --params 7e9 --nodes 512 --price-per-hour 2
      tinyllm plan --model gpt2 --params 175e9 --machine a100 --nodes 128
    """
    given = {"params": params, "nodes": nodes, "context": context, "batch": batch, "tokens": tokens,
             "price_per_hour": price_per_hour}
    for name, value in given.items():
        low, high = LIMITS[name]
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name.replace('_', '-')} must be from {low:g} to {high:g}, got {value:g}")
    found, fixed, known = _model(model, params, preset), _fixed(grid or []), machines()
    context = context or found.config.context
    work = Work(found.config, found.num_parameters(), forward_flops(found, context), context,
                max(1, round(batch / context)), precision or ("float32" if machine == "here" else "bf16"))
    if machine == "here":
        known[machine] = _here(work, Grid(**fixed), nodes)
    if machine not in known:
        hint = did_you_mean(machine, known) or f"; there are {', '.join(known)} and here"
        raise UserError(f"there is no machine {machine[:40]!r}{hint}")
    on = known[machine]
    best, cost = best_grid(on, work, nodes, fixed)
    rows = [] if machine == "here" else scaling(on, work, nodes, fixed)
    hours, devices = tokens / (work.batch * context) * cost.seconds / 3600, nodes * on.devices
    price = hours * devices * price_per_hour
    facts = [
        ["model", f"{short(work.parameters)} parameters, {work.config.layers} layers of {work.config.width}"],
        ["devices", f"{devices:,}, in {nodes:,} nodes of {on.devices}"],
        ["best grid", " ".join(f"{name}={value}" for name, value in asdict(best).items())],
        ["a step", f"{cost.seconds:,.4g} s for {work.batch:,} x {context:,} tokens"],
        ["training", f"{hours / 24:,.4g} days for {short(tokens)} tokens"],
        ["price", f"{devices * price_per_hour:,.2f} an hour, {price:,.0f} in all"],
        ["used", f"{100 * cost.utilization:.1f} % of the peak, {100 * cost.bubble:.1f} % bubble"],
        ["memory", f"{cost.memory / 1e9:,.3g} of {on.memory / 1e9:,.3g} GB of a device"],
        ["sent a step", f"{short(cost.sent)}B by a device, {short(cost.network)}B between all nodes"],
    ]
    cells = [[f"{row['nodes']:,}", *_cells(row["strong"]), *_cells(row["weak"])] for row in rows]
    if html:
        charts = [_chart(rows, "seconds"), _chart(rows, "utilization")] if rows else []
        body = [page.table("plan", ["", machine], facts), *charts, page.table("scaling", SCALING, cells)]
        page.write(html, page.assemble(f"Training on {machine}", "Predicted by tinyllm plan.", body,
                                       "; ".join(on.sources)))
    if json:
        print(dumps({"work": work, "machine": on, "grid": best, "cost": cost, "hours": hours, "price": price,
                     "scaling": rows}, default=asdict))
    else:
        print(*table(["", machine], facts, "<<"), "", *(table(SCALING, cells) if cells else []), sep="\n")
        print(*map(paragraph, on.sources), sep="\n")


def _fixed(grid: list[str]) -> dict[str, int]:
    """Read ["data=2", "tensor=8"] -> {"data": 2, "tensor": 8}."""
    names, pairs = [field.name for field in fields(Grid)], [text.partition("=")[::2] for text in grid]
    for name, value in pairs:
        if name not in names or not (value.isascii() and value.isdecimal()):
            raise UserError(f"--grid takes {', '.join(names)} as in tensor=8, got {f'{name}={value}'[:40]!r}")
    return {name: int(value[:10]) for name, value in pairs}


def _model(name: str, params: float | None, preset: str) -> Any:
    """Open a model, or build one without memory, whose heads and layers divide by 8 if there are many."""
    if params is None:
        found = open_or_build(name, preset)
    else:
        cls, built = family(name), {}
        small = cls.PRESETS["small"] | {"model_type": cls.model_type, "vocab_size": 32000, "context": 2048}
        layers = _rounded((params / 12 / HEAD**2) ** (1 / 3))
        with without_memory():
            for heads in {_rounded(layers * part / 8) for part in range(3, 13)}:
                sizes = {"heads": heads, "kv_heads": heads, "layers": layers, "width": HEAD * heads,
                         "hidden": max(1, round(small.get("hidden", 0) * heads / small["width"])) * HEAD}
                model = build(small | {key: size for key, size in sizes.items() if key in small}, None)
                built[abs(model.num_parameters() - params)] = model
        found = built[min(built)]
    if not isinstance(found, DecoderLM):
        raise UserError(f"{found.model_type} does not write token by token: take a decoder, such as llama")
    return found


def _rounded(n: float) -> int:
    return 8 * round(n / 8) if n > 12 else max(1, round(n))


def _here(work: Work, grid: Grid, nodes: int) -> Machine:
    """Measure this machine, divided over processes, by its roof and training steps of two layers of a model.

    To send a byte takes about as long as to read ten from memory, as measured with MPI on one machine.
    """
    ranks, threads = grid.data * grid.tensor * grid.pipeline, runtime.threads()
    if nodes > 1 or work.precision != "float32":
        raise UserError("--machine here is one node, and measures float32 only")
    if not ((roof := measure_roof(0.5)).gflops and roof.gb_per_second):
        raise UserError("--machine here needs the kernels, which were not built")
    try:
        each = runtime.threads(max(1, threads // ranks))
        step = trainer(replace(work.config, layers=min(2, work.config.layers)), grid.micro)
        seconds = min(step.sample(4, 0.1) for _ in range(6))
    finally:
        runtime.threads(threads)
    peak, memory = roof.gflops * 1e9 / ranks, roof.gb_per_second * 1e9 / ranks
    reached = step.amounts["flops"] / seconds * min(1.0, threads / ranks / each) / peak
    link = [memory / 10, 1e-5]
    return Machine(ranks, reached, (free_memory() or 2**63) / ranks, memory, link, link,
                   ["measured here and now"], float32=peak)


def _cells(cost: Any) -> list[str]:
    return [f"{cost.seconds:,.4g}", f"{100 * cost.utilization:.1f} %"] if cost else ["no grid fits", ""]


def _chart(rows: list[dict[str, Any]], what: str) -> page.Html:
    series = [Series(kind, [(row["nodes"], getattr(row[kind], what)) for row in rows if row[kind]], style)
              for kind, style in (("strong", "train"), ("weak", "val"))]
    unit = {"seconds": "s a step", "utilization": "of the peak"}[what]
    return chart(what, "strong and weak scaling", series, f"{unit}, by nodes", what == "seconds", log_x=True)
