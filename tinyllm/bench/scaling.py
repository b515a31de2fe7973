"""Scaling: how the time of a training step grows with the context, the batch, the width and the threads.

A line is fitted through the logarithms, so `time ~ size^exponent`: 1 is linear, 2 quadratic.
"""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np

from tinyllm.bench.setting import SETTINGS, Setting
from tinyllm.bench.timing import Contender, race
from tinyllm.bench.train import step_flops, training_step
from tinyllm.ops.registry import threads


def axes(base: Setting, n_threads: int, quick: bool = False) -> dict[str, list[tuple[int, Setting, int]]]:
    """Return {axis: [(size, setting, threads)]}: one size changes, the others stay those of `base`."""
    factors = [2**i for i in range(2 if quick else 4)]
    quarter = max(1, base.batch // 4)
    return {
        "context": [(n, replace(base, context=n), n_threads) for n in (base.context * f for f in factors)],
        "batch": [(n, replace(base, batch=n), n_threads) for n in (quarter * f for f in factors)],
        "width": [(n, replace(base, width=n), n_threads) for n in (base.width * f for f in factors[:3])],
        "threads": [(n, base, n) for n in range(1, n_threads + 1)],
    }


def measure_scaling(seconds: float, least: int = 3, quick: bool = False,
                    base: Setting | None = None) -> Iterator[dict]:  # fmt: skip
    """Time training steps along each axis -> yields a record for each size, then the fitted exponent."""
    before = threads()
    try:
        for axis, points in axes(base or SETTINGS["nano"], before, quick).items():
            records = []
            for size, setting, n in points:
                threads(n)
                took = median(race({"step": Contender(training_step(setting))}, seconds, least)["step"])
                record = {"bench": "scaling", "axis": axis, "size": size, "seconds": took}
                records.append(record | {"gflops": step_flops(setting) / took / 1e9})
                yield records[-1]
            if len(records) > 1:
                yield {"bench": "scaling", "axis": axis, "time_exponent": exponent(records)}
    finally:
        threads(before)


def exponent(records: list[dict]) -> float:
    """Fit `seconds ~ size^exponent` through all records by least squares of the logarithms."""
    sizes, times = (np.log([record[what] for record in records]) for what in ("size", "seconds"))
    return float(np.polyfit(sizes, times, 1)[0])
