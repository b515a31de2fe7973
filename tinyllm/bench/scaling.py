"""Scaling: how time and memory grow with the context, the batch, the width and the threads.

A line is fitted through the logarithms, so `time ~ size^exponent`: 1 is linear, 2 quadratic. Attention is
measured alone too, forward and backward, up to thousands of tokens: there its time should be quadratic in
the length and its memory linear, since no scores are stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from tinyllm import ops
from tinyllm.bench.memory import run_child
from tinyllm.bench.setting import SETTINGS, Setting
from tinyllm.bench.timing import Contender, race
from tinyllm.bench.train import step_flops, training_step
from tinyllm.ops.registry import threads
from tinyllm.train.log import peak_rss_mb

HEADS, WIDTH = 6, 64  # of the attention that is measured alone: the heads of `mini`
LENGTHS = (512, 1024, 2048, 4096, 8192)


def axes(base: Setting, quick: bool = False) -> dict[str, list[tuple[int, Setting, int]]]:
    """Return {axis: [(size, setting, threads)]}: one size changes, the others stay those of `base`."""
    n = threads()
    few = 2 if quick else 4
    contexts = [base.context * 2**i for i in range(few)]
    batches = [max(1, base.batch // 4) * 2**i for i in range(few)]
    widths = [base.width * 2**i for i in range(few - 1 if not quick else 2)]
    return {
        "context": [(t, replace(base, context=t), n) for t in contexts],
        "batch": [(b, replace(base, batch=b), n) for b in batches],
        "width": [(c, replace(base, width=c), n) for c in widths],
        "threads": [(k, base, k) for k in range(1, n + 1)],
    }


def measure_scaling(seconds: float, least: int = 3, quick: bool = False, base: Setting | None = None,
                    lengths: Sequence[int] | None = None) -> Iterator[dict]:  # fmt: skip
    """Time training steps along each axis, then attention alone -> yields records and fits."""
    for axis, points in axes(base or SETTINGS["nano"], quick).items():
        yield from _with_fit(axis, [_training(axis, *point, seconds, least) for point in points])
    lengths = lengths or LENGTHS
    few = lengths[:2] if quick else lengths
    yield from _with_fit("attention", [_attention(n, seconds, least) for n in few])


def _training(axis: str, size: int, setting: Setting, n_threads: int, seconds: float, least: int) -> dict:
    before = threads()
    threads(n_threads)
    try:
        took = median(race({"step": Contender(training_step(setting))}, seconds, least)["step"])
    finally:
        threads(before)
    record = {"bench": "scaling", "axis": axis, "size": size, "threads": n_threads, "seconds": took}
    return record | {"gflops": step_flops(setting) / took / 1e9}


def _attention(length: int, seconds: float, least: int) -> dict:
    """Time attention over one row of `length` tokens, forward and backward -> record."""
    took = median(race({"both": Contender(partial(_both, *_inputs(length)))}, seconds, least)["both"])
    flops = 7 * 2 * HEADS * WIDTH * (length * (length + 1) // 2)  # 2 products forward, 5 backward
    record = {"bench": "scaling", "axis": "attention", "size": length, "threads": threads(), "seconds": took}
    work = {"length": length, "n_threads": threads()}
    look = run_child(attend_and_look, work, f"attention over {length} tokens")
    if look["peak_rss_mb"]:
        record["memory_mb"] = look["peak_rss_mb"] - look["libraries_mb"]
    return record | {"gflops": flops / took / 1e9}


def _inputs(length):
    random = np.random.default_rng(0)
    return [random.standard_normal((1, length, HEADS, WIDTH), np.float32) for _ in range(4)]


def _both(q, k, v, dy):
    y, lse = ops.attention(q, k, v)
    ops.attention_backward(dy, q, k, v, y, lse)


def attend_and_look(length: int, n_threads: int) -> dict[str, float | None]:
    """Run attention in this process, which should be a fresh one -> peaks in MiB before and after."""
    threads(n_threads)
    _both(*_inputs(64))  # wakes threads and libraries
    before = peak_rss_mb()
    _both(*_inputs(length))
    return {"libraries_mb": before, "peak_rss_mb": peak_rss_mb()}


def _with_fit(axis: str, records: list[dict]) -> Iterator[dict]:
    yield from records
    if len(records) > 1:
        fit = {"bench": "scaling", "axis": axis, "time_exponent": exponent(records, "seconds")}
        if "memory_mb" in records[-1]:
            fit["memory_exponent"] = exponent(records, "memory_mb")
        yield fit


def exponent(records: list[dict], what: str) -> float:
    """Fit `what ~ size^exponent` through all records by least squares of the logarithms."""
    sizes = np.log([r["size"] for r in records])
    values = np.log([max(r[what], 1e-9) for r in records])
    return float(np.polyfit(sizes, values, 1)[0])

