"""Collect facts about this machine and the installation, for `tinyllm bench` and `tinyllm doctor`."""

import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tinyllm.data import cache_folder
from tinyllm.ops import registry, runtime
from tinyllm.train.memory import free_memory

KERNELS: Any = runtime._compiled  # None if they were not built
VARIABLES = ("TINYLLM_", "OPENBLAS_", "OMP_", "MKL_")  # environment variables that change speed or backend


def facts() -> dict:
    """Return facts about this machine and installation; a value is None where the system gives none."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    packages = ("numpy", "regex", "safetensors", "tqdm")
    return {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "level": KERNELS.level() if KERNELS else None,  # instructions of the kernels
        "levels": KERNELS.levels() if KERNELS else [],  # all that this CPU can run, best first
        "threads": runtime.threads(),
        "backends": backends(),
        "blas": " ".join(str(blas[key]) for key in ("name", "version") if blas.get(key)) or "unknown",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,  # over the last minute
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
        "compilers": compilers(),
        "memory": memory(),
        "pool": runtime.memory(),
        "versions": {"python": platform.python_version()} | {p: metadata.version(p) for p in packages},
        "cache": cache(),
    }


def cpu_model() -> str:
    """Return the name of the CPU, or only its architecture if the system gives no name."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        if found := re.search(r"model name\s*:(.*)", file.read()):
            return " ".join(found[1].split())
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine()


def backends() -> dict[str, list[str]]:
    """Return {backend: [names of the ops that it runs now]}."""
    found: dict[str, list[str]] = {}
    for name, o in registry.OPS.items():
        found.setdefault(o.backend, []).append(name)
    return found


def memory() -> dict[str, int | None]:
    """Return {"total": bytes, "available": bytes}; None where the system gives no answer."""
    total = None
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"total": total, "available": free_memory()}


def compilers() -> dict[str, str]:
    """Return {command: version} for the installed C compilers; two names of one compiler count once."""
    found: dict[str, str] = {}
    seen = set()
    for name in [*os.environ.get("CC", "").split()[:1], "cc", "gcc", "clang", "cl"]:
        path = shutil.which(name)
        if path and os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            found[name] = _output([path, "--version"]).partition("\n")[0] or "version unknown"
    return found


def cache() -> dict:
    """Return the folder of the token cache, and whether files can be written there."""
    folder = cache_folder()
    place = next(place for place in [folder, *folder.parents] if place.exists())
    return {"folder": str(folder), "writable": place.is_dir() and os.access(place, os.W_OK | os.X_OK)}


def source_folder() -> Path | None:
    """Return the folder of tinyllm's source code if tinyllm runs from it, else None."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "csrc").is_dir() else None


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
