"""Measure the roof: the highest rates of computing and of reading memory that this machine reaches.

One probe does multiply-adds on registers: no kernel computes faster. In the other, all threads sum an array
that is too large for any cache. If its data stays in a cache, a kernel may read faster: then its share is
above 1. Source: Williams, Waterman and Patterson, "Roofline", 2009.
"""

import os
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tinyllm.bench.race import settle
from tinyllm.ops import registry

ROUNDS = 2000  # of the multiply-add probes: about half a millisecond a call
BUFFER = 1 << 28  # bytes, or four times the last cache if that is more


@dataclass(frozen=True)
class Roof:
    """The highest measured rates: None without kernels, `bf16_gflops` also without bf16 instructions."""

    gflops: float | None = None
    bf16_gflops: float | None = None
    gb_per_second: float | None = None

    def share(self, record: dict) -> float | None:
        """Return a record's rate divided by the roof, or None if either is unknown."""
        if record.get("gb_per_second") is not None:
            return record["gb_per_second"] / self.gb_per_second if self.gb_per_second else None
        roof = self.gflops
        if record.get("precision") == "bf16" and self.bf16_gflops:
            roof = self.bf16_gflops
        rate = record.get("gflops")
        return rate / roof if rate is not None and roof else None


def measure_roof(seconds: float = 1.0) -> Roof:
    """Run the probes in turn for `seconds`, with the kernels' number of threads; return a Roof."""
    kernels: Any = registry._compiled
    if kernels is None:
        return Roof()
    probe = kernels.probe
    buffer = np.ones(_buffer_bytes() // 4, np.float32)
    best = {"fma": 0.0, "bf16": 0.0, "read": 0.0}
    settle()
    end, rounds = perf_counter() + seconds, 0
    while rounds < 3 or perf_counter() < end:
        for what in best:
            start = perf_counter()
            done = probe(what, 0, buffer) if what == "read" else probe(what, ROUNDS)
            best[what] = max(best[what], done / (perf_counter() - start) / 1e9)
        rounds += 1
    return Roof(best["fma"], best["bf16"] or None, best["read"])


def _buffer_bytes() -> int:
    try:
        last = max(os.sysconf("SC_LEVEL3_CACHE_SIZE"), os.sysconf("SC_LEVEL2_CACHE_SIZE"))
    except (AttributeError, ValueError, OSError):  # the system does not report it
        last = 0
    return max(BUFFER, 4 * last)
