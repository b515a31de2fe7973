"""Predict what training costs on many devices: seconds a step, idle time, bytes sent, and memory.

A message of n bytes takes latency + n / bandwidth seconds. A ring of k devices that adds up n bytes sends
2 (k - 1) / k of them; over several nodes, each node adds up first. Devices compute at the rate of their roof.
Neighbours share a tensor group, then come those with other data, then the stages of the pipeline, as in
Megatron (Narayanan et al., 2021). Not modelled: experts on different devices, failures, and reading data.
"""

import math
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.files import read_text

COUNT: dict[str, Any] = {"min": 1, "max": 2**24}
WIDTHS = {"bf16": 2, "float32": 4}  # bytes of a weight, of its gradient, and of an activation
STATE = {"bf16": 12, "float32": 8}  # bytes of AdamW's two means, and for bf16 of the weight in float32
KEPT = 17  # numbers that a layer keeps for each channel of a token: Korthikanti et al., 2022, equation 2


@dataclass(frozen=True)
class Machine:
    """The figures of a machine, for each device; machines.toml explains them and says where they are from."""

    devices: int
    reached: float
    memory: float
    bandwidth: float
    inside: list[float]  # bytes/s and latency of the link to its node
    between: list[float]  # and to other nodes
    sources: list[str]
    bf16: float | None = None
    float32: float | None = None


@dataclass(frozen=True)
class Grid:
    """The division of training over data * tensor * pipeline devices; impossible values raise UserError."""

    data: int = setting(1, **COUNT)  # groups of devices with different sequences
    tensor: int = setting(1, **COUNT)  # devices that divide each matrix
    pipeline: int = setting(1, **COUNT)  # devices that divide the layers
    micro: int = setting(1, **COUNT)  # sequences that a group computes at once
    zero: int = setting(0, min=0, max=1)  # 1: the optimizer's state is divided over data, too (ZeRO-1)
    checkpoint: int = setting(0, min=0, max=1)  # 1: layers keep their inputs only, and run twice

    def __post_init__(self):
        check(self)


@dataclass(frozen=True)
class Work:
    """The work of a step: the sizes of a model, and its FLOPs."""

    config: Any
    parameters: int
    flops: int  # of the forward pass of a sequence
    context: int
    batch: int  # sequences
    precision: str


@dataclass(frozen=True)
class Cost:
    """The predicted costs of a step."""

    seconds: float
    bubble: float  # share of the time of the pieces in which a stage waits
    utilization: float  # FLOPs that the model needs, divided by those of the devices' peaks
    sent: float  # bytes of a device
    network: float  # bytes that all nodes send to each other
    memory: float  # bytes of a device


def machines() -> dict[str, Machine]:
    """Read the public machines from machines.toml -> {name: Machine}."""
    figures = tomllib.loads(read_text(Path(__file__).with_name("machines.toml")))
    return {name: Machine(**values) for name, values in figures.items()}


def all_reduce(machine: Machine, size: float, ranks: int, stride: int) -> tuple[float, float, float]:
    """Return seconds, bytes sent by a device, and those to other nodes, of a sum over every stride-th."""
    near = min(ranks, max(1, machine.devices // stride))
    levels = (near, size, machine.inside), (math.ceil(ranks / near), size / near, machine.between)
    inside, between = (2 * (k - 1) / k * n for k, n, _ in levels)
    waits = sum(2 * math.ceil(math.log2(k)) * latency for k, _, (_, latency) in levels)
    return inside / machine.inside[0] + between / machine.between[0] + waits, inside + between, between


def simulate(machine: Machine, work: Work, grid: Grid) -> Cost:
    """Predict the costs of a step. Raises UserError if the grid does not divide the model and the batch."""
    c, groups, tokens = work.config, grid.data * grid.micro, grid.micro * work.context
    for what, whole, by, parts in (("heads", c.heads, "tensor", grid.tensor),
                                   ("layers", c.layers, "pipeline", grid.pipeline),
                                   ("sequences of a batch", work.batch, "data x micro", groups)):
        if whole % parts:
            raise UserError(f"{whole} {what} do not divide by {by}={parts}: {math.gcd(whole, parts)} would")
    if not (peak := getattr(machine, work.precision)):
        raise UserError(f"no peak in {work.precision} is known for this machine: take another --precision")
    number, share, pieces = WIDTHS[work.precision], grid.tensor * grid.pipeline, work.batch // groups
    layers, parameters, ranks = c.layers // grid.pipeline, work.parameters / share, grid.data * share
    stream, passes = tokens * c.width * number, 3 + grid.checkpoint  # a backward pass is two
    kept = KEPT * stream / grid.tensor  # by a layer
    moved = 3 * (parameters * number + layers * kept)  # written once, and read twice
    flops = passes * grid.micro * work.flops / share
    compute = max(flops / peak / machine.reached, moved / machine.bandwidth)
    summed, sent, far = (2 * (passes - 1) * layers * x for x in all_reduce(machine, stream, grid.tensor, 1))
    crossing = min(math.ceil(ranks / machine.devices), grid.pipeline) - 1  # from node to node
    passed = 2.0 * stream * (grid.pipeline > 1)  # to the next stage, and back
    passing = passed / (machine.between if crossing else machine.inside)[0]
    gradients = all_reduce(machine, parameters * number, grid.data, grid.tensor)
    exposed = max(0.0, gradients[0] - compute * (passes - 1) / passes)  # a backward pass hides the rest
    state = parameters * STATE[work.precision] / (grid.data if grid.zero else 1)
    update = (2 * state + 2 * parameters * number) / machine.bandwidth
    seconds = (pieces + grid.pipeline - 1) * (compute + summed + passing) + exposed + update
    held = kept * (min(pieces, grid.pipeline) * layers)
    if grid.checkpoint:
        held = held / kept * stream + kept
    logits = 8 * tokens * c.vocab_size / grid.tensor * (grid.pipeline == 1)  # and their gradient
    return Cost(seconds, (grid.pipeline - 1) / (pieces + grid.pipeline - 1),
                3 * work.batch * work.flops / ranks / peak / seconds, pieces * (sent + passed) + gradients[1],
                ranks * (pieces * far + gradients[2]) + pieces * crossing * grid.data * grid.tensor * passed,
                2 * number * parameters + state + held + logits)


def best_grid(machine: Machine, work: Work, nodes: int, fixed: dict[str, int]) -> tuple[Grid, Cost]:
    """Return the fastest grid that fits into the memory of so many nodes, and its costs.

    `fixed` holds values of the grid that are given. Raises UserError if no grid divides the work, or fits.
    """
    Grid(**fixed)  # raises UserError for impossible values
    c, ranks, found, problem = work.config, nodes * machine.devices, [], None
    tensor, pipeline = ([i for i in range(1, n + 1) if n % i == 0] for n in (c.heads, c.layers))
    choices = {"tensor": tensor, "pipeline": pipeline, "micro": [1, 2, 4, 8, 16], "zero": [0, 1],
               "checkpoint": [0, 1]} | {name: [value] for name, value in fixed.items() if name != "data"}
    for values in product(*choices.values()):
        data, rest = divmod(ranks, values[0] * values[1])
        if rest == 0 and data == fixed.get("data", data):
            try:
                grid = Grid(data, *values)
                found.append((grid, simulate(machine, work, grid)))
            except UserError as error:
                problem = problem or error
    if not found:
        said = " ".join(f"{name}={value}" for name, value in fixed.items())
        raise problem or UserError(f"data x tensor x pipeline must be {ranks} devices; {said} cannot")
    best = min(found, key=lambda pair: (max(pair[1].memory, machine.memory), pair[1].seconds))
    if (needed := best[1].memory) > machine.memory:
        raise UserError(f"a device needs {needed / 1e9:,.1f} GB and has {machine.memory / 1e9:,.1f} GB: take "
                        "more --nodes, or a smaller --batch or model")
    return best


def scaling(machine: Machine, work: Work, nodes: int, fixed: dict[str, int]) -> list[dict[str, Any]]:
    """Return the costs on 1 to 4,096 nodes by {"nodes", "strong", "weak"}; None where no grid fits.

    Strong scaling keeps the batch; weak scaling keeps the batch of a node, as it is on `nodes` nodes.
    """
    rows: list[dict[str, Any]] = []
    free = {name: value for name, value in fixed.items() if name != "data"}
    for n in (2**i for i in range(13)):
        rows.append({"nodes": n})
        for kind, batch in (("strong", work.batch), ("weak", max(1, work.batch // nodes) * n)):
            rows[-1][kind] = None
            with suppress(UserError):
                rows[-1][kind] = best_grid(machine, replace(work, batch=batch), n, free)[1]
    return rows
