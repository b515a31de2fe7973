"""Collect facts about this machine, and measure its roof: the highest rates that it reaches.

One probe of the roof does multiply-adds on registers: no kernel computes faster. In the other, all threads
sum an array that is too large for any cache. A kernel whose data stays in a cache may read faster than that.
Source: Williams, Waterman and Patterson, "Roofline", 2009.
"""

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tinyllm.bench.race import settle
from tinyllm.ops import runtime

VARIABLES = ("TINYLLM_", "OPENBLAS_", "OMP_", "MKL_")  # environment variables that change speed or backend
ROUNDS = 2000  # of the multiply-add probes: about half a millisecond a call
BUFFER = 1 << 28  # bytes


def facts() -> dict[str, Any]:
    """Return facts about this machine and the kernels; "level" is None without kernels."""
    kernels: Any = runtime._compiled  # None if they were not built
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "level": kernels.level() if kernels else None,  # instructions of the kernels
        "levels": kernels.levels() if kernels else [],  # all that this CPU can run, best first
        "threads": runtime.threads(),
        "blas": " ".join(str(blas[key]) for key in ("name", "version") if blas.get(key)) or "unknown",
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
    }


def cpu_model() -> str:
    """Return the name of the CPU, or only its architecture if the system gives no name."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        if found := re.search(r"model name\s*:(.*)", file.read()):
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Roof:
    """The highest measured rates: None without kernels or bf16 instructions."""

    gflops: float | None = None
    bf16_gflops: float | None = None
    gb_per_second: float | None = None

    def share(self, rates: dict) -> float | None:
        """Return a race's rate divided by that of the roof, or None if either is unknown."""
        most = {"flops": self.gflops, "bf16_flops": self.bf16_gflops}
        return next((rates[what] / 1e9 / top for what, top in most.items() if top and what in rates), None)


def measure_roof(seconds: float = 1.0) -> Roof:
    """Run the probes in turn for `seconds`, with the kernels' number of threads; return a Roof."""
    kernels: Any = runtime._compiled
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
