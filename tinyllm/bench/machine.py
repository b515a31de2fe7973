"""Collect facts about this machine, for `tinyllm bench` and `tinyllm doctor`."""

import os
import platform
import re
from contextlib import suppress
from typing import Any

import numpy as np

from tinyllm.ops import runtime

VARIABLES = ("TINYLLM_", "OPENBLAS_", "OMP_", "MKL_")  # environment variables that change speed or backend


def facts() -> dict[str, Any]:
    """Return facts about this machine; a value is None where the system gives none."""
    kernels: Any = runtime._compiled  # None if they were not built
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "level": kernels.level() if kernels else None,  # instructions of the kernels
        "levels": kernels.levels() if kernels else [],  # all that this CPU can run, best first
        "threads": runtime.threads(),
        "blas": " ".join(str(blas[key]) for key in ("name", "version") if blas.get(key)) or "unknown",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,  # over the last minute
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
    }


def cpu_model() -> str:
    """Return the name of the CPU, or only its architecture if the system gives no name."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        if found := re.search(r"model name\s*:(.*)", file.read()):
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()
