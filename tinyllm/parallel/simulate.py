"""Predict what training costs on many devices: seconds a step, idle time, bytes sent, and memory.

A message of n bytes takes latency + n / bandwidth seconds. For a sum of n bytes, each of k devices sends
2 (k - 1) / k of them; over several nodes, each node adds up first. Devices compute at the rate of their roof.
Neighbours share a tensor group, then come those with other data, then the stages of a pipeline, which runs
1F1B: one forward, one backward (Narayanan et al., arXiv:2104.04473, 2021). Not modelled: experts or sequences
divided over devices, several stages on one, failures, and reading data.
"""

import math
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from tinyllm.errors import UserError
from tinyllm.files import read_text

# Numbers that a layer keeps for each channel of a token if attention stores no scores: 34 bytes in bf16,
# divided by tensor and sequence parallelism (Korthikanti et al., arXiv:2205.05198, 2022). With shared
# keys and a gate in the MLP they are about as many: 16.1 in LLaMA 7B, 16.8 in 70B, 15.9 in 405B.
KEPT = 17


@dataclass(frozen=True)
class Machine:
    """The figures of a machine, for each device; machines.toml explains them and says where they are from."""

    devices: int
    peak: float
    reached: float
    memory: float
    bandwidth: float
    inside: list[float]  # bytes/s and latency of the link to its node
    between: list[float]  # and to other nodes
    sources: list[str]
    number: int = 2  # bytes of a weight, of its gradient, and of an activation: 2 in bf16
    state: int = 12  # bytes of AdamW's two means, and in bf16 of the weight in float32
    overlap: bool = True  # gradients are summed once, during the last backward pass; else after each piece


@dataclass(frozen=True)
class Grid:
    """The division of training over data * tensor * pipeline devices."""

    data: int = 1  # groups of devices with different sequences
    tensor: int = 1  # devices that divide each matrix
    pipeline: int = 1  # devices that divide the layers
    micro: int = 1  # sequences that a group computes at once
    zero: int = 1  # 1: the optimizer's state is divided over data, too (ZeRO-1)
    checkpoint: int = 0  # 1: layers keep their inputs only, and run twice


@dataclass(frozen=True)
class Work:
    """The work of a step: the sizes of a model, and its FLOPs."""

    config: Any
    parameters: float
    flops: int  # of the forward pass of a sequence
    context: int
    batch: int  # sequences


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
    """Predict the costs of a step."""
    c, tokens, ranks = work.config, grid.micro * work.context, grid.data * grid.tensor * grid.pipeline
    pieces, layers = math.ceil(work.batch / grid.data / grid.micro), math.ceil(c.layers / grid.pipeline)
    share = layers / c.layers / grid.tensor  # of the model, on a device of the largest stage
    weights = work.parameters * share
    stream = tokens * c.width * machine.number  # bytes between two layers
    kept = KEPT * stream / grid.tensor  # by a layer, for the backward pass
    passes = 3 + grid.checkpoint  # a backward pass is two
    compute = max(passes * grid.micro * work.flops * share / machine.peak / machine.reached,
                  3 * (weights * machine.number + layers * kept) / machine.bandwidth)  # write, read twice
    summed, sent, far = (2 * (passes - 1) * layers * x for x in all_reduce(machine, stream, grid.tensor, 1))
    crossing = min(math.ceil(ranks / machine.devices), grid.pipeline) - 1  # neighbours in different nodes
    passed = 2 * stream / grid.tensor * (grid.pipeline > 1)  # to the next stage, and back
    speed, latency = machine.between if crossing else machine.inside
    passing = (passed / speed + 2 * latency) * (grid.pipeline > 1)
    sums = 1 if machine.overlap else pieces
    gradients = [sums * x for x in all_reduce(machine, weights * machine.number, grid.data, grid.tensor)]
    hidden = compute * (passes - 1) / passes * machine.overlap  # behind the last backward pass
    state = weights * machine.state / (grid.data if grid.zero else 1)
    update = 2 * (state + weights * machine.number) / machine.bandwidth + max(0.0, gradients[0] - hidden)
    seconds = (pieces + grid.pipeline - 1) * (compute + summed + passing) + update
    flying = min(pieces, grid.pipeline)  # pieces before their backward pass
    held = flying * layers * (stream if grid.checkpoint else kept) + kept * grid.checkpoint
    logits = 8 * tokens * c.vocab_size / grid.tensor  # and their gradient, in the last stage
    return Cost(seconds, (grid.pipeline - 1) / (pieces + grid.pipeline - 1),
                3 * work.batch * work.flops / ranks / machine.peak / seconds,
                pieces * (sent + passed) + gradients[1],
                ranks * (pieces * far + gradients[2]) + pieces * crossing * grid.data * grid.tensor * passed,
                2 * machine.number * weights + state + max(held, held / flying + logits))


def best_grid(machine: Machine, work: Work, nodes: int, fixed: dict[str, int]) -> tuple[Grid, Cost]:
    """Return the fastest grid that fits into the memory of so many nodes, and its costs.

    `fixed` holds values of the grid that are given. Raises UserError if there is no such grid.
    """
    ranks, heads, layers = nodes * machine.devices, work.config.heads, work.config.layers
    choices = {"tensor": [n for n in range(1, heads + 1) if heads % n == 0], "pipeline": range(1, layers + 1),
               "micro": [1, 2, 4, 8, 16], "zero": [1], "checkpoint": [0, 1]}
    named = [[fixed[name]] if name in fixed else values for name, values in choices.items()]
    found = []
    for tensor, pipeline, *others in product(*named):
        data, rest = divmod(ranks, tensor * pipeline)
        fits = heads % tensor == 0 and pipeline <= layers and data * others[0] <= work.batch
        if not rest and data == fixed.get("data", data) and fits:
            grid = Grid(data, tensor, pipeline, *others)
            found.append((grid, simulate(machine, work, grid)))
    if not found:
        said = " ".join(f"{name}={n}" for name, n in fixed.items()) or "a grid"
        raise UserError(f"{said} cannot be: data x tensor x pipeline must be {ranks} devices, tensor must "
                        f"divide {heads} heads, pipeline be at most {layers} layers, and data x micro be at "
                        f"most {work.batch} sequences")
    best = min(found, key=lambda pair: (max(pair[1].memory, machine.memory), pair[1].seconds))
    if (needed := best[1].memory) > machine.memory:
        raise UserError(f"a device needs {needed / 1e9:,.1f} GB to train this and has "
                        f"{machine.memory / 1e9:,.1f} GB: take more --nodes, or a smaller model")
    return best


def scaling(machine: Machine, work: Work, nodes: int, fixed: dict[str, int]) -> list[dict[str, Any]]:
    """Return the costs on 1 to 4,096 nodes by {"nodes", "strong", "weak"}; None where no grid fits.

    Strong scaling keeps the batch; weak scaling keeps the batch of a node, as it is on `nodes` nodes.
    """
    free = {name: value for name, value in fixed.items() if name != "data"}
    rows: list[dict[str, Any]] = [{"nodes": 4**i, "strong": None, "weak": None} for i in range(7)]
    for row in rows:
        for kind, batch in (("strong", work.batch), ("weak", round(work.batch / nodes * row["nodes"]) or 1)):
            with suppress(UserError):
                row[kind] = best_grid(machine, replace(work, batch=batch), row["nodes"], free)[1]
    return rows
