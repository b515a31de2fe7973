"""Measure the roof: the highest rates of computing and of reading memory that this machine reaches.

One probe does multiply-adds on registers: no kernel computes faster. In the other, all threads sum an array
that is too large for any cache. If its data stays in a cache, a kernel may read faster: then its share is
above 1. Source: Williams, Waterman and Patterson, "Roofline", 2009.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tinyllm.bench.race import settle
from tinyllm.ops import registry

ROUNDS = 2000  # of the multiply-add probes: about half a millisecond a call
BUFFER = 1 << 28  # bytes


@dataclass(frozen=True)
class Roof:
    """The highest measured rates, by the names of records: None without kernels or bf16 instructions."""

    gflops: float | None = None
    bf16_gflops: float | None = None
    gb_per_second: float | None = None

    def share(self, record: dict) -> float | None:
        """Return a record's rate divided by the roof, or None if either is unknown."""
        shares = (record[name] / most for name, most in vars(self).items() if most and name in record)
        return next(shares, None)


def measure_roof(seconds: float = 1.0) -> Roof:
    """Run the probes in turn for `seconds`, with the kernels' number of threads; return a Roof."""
    kernels: Any = registry._compiled
    if kernels is None:
        return Roof()
    buffer = np.ones(BUFFER // 4, np.float32)
    best = {"fma": 0.0, "bf16": 0.0, "read": 0.0}
    settle()
    end, rounds = perf_counter() + seconds, 0
    while rounds < 3 or perf_counter() < end:
        for what in best:
            start = perf_counter()
            done = kernels.probe(what, 0, buffer) if what == "read" else kernels.probe(what, ROUNDS)
            best[what] = max(best[what], done / (perf_counter() - start) / 1e9)
        rounds += 1
    return Roof(best["fma"], best["bf16"] or None, best["read"])
