"""The machine and the installation, as facts: what `bench` prints above its numbers and `doctor` judges."""

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

from tinyllm.data import cache_folder
from tinyllm.ops import registry

VARIABLES = ("TINYLLM_", "OPENBLAS_", "OMP_", "MKL_")  # what these name changes speed or backend
TEST_LEVELS = ("narrow", "wide")  # slow: there to prove that other vectors give the same bits


def cpu_model():
    """Return the name of the CPU, as far as the system tells."""
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return " ".join(line.split(":", 1)[1].split())
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine()


def cpus():
    """Count the CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def level():
    """Return the instruction set of the kernels, or None without kernels."""
    return registry._compiled.level() if registry._compiled else None


def levels():
    """Return the instruction sets that the kernels could run on here, best first, test levels left out."""
    found = registry._compiled.levels() if registry._compiled else []
    return [name for name in found if name not in TEST_LEVELS]


def pool():
    """Return what the kernels' pool of memory has done so far in this process, or None without kernels."""
    return registry.memory()


def backends():
    """Return {backend: [names of the ops that it runs now]}."""
    found: dict[str, list[str]] = {}
    for name, o in registry.OPS.items():
        found.setdefault(o.backend, []).append(name)
    return found


def memory():
    """Return {"total": bytes, "available": bytes}, None where the system does not say."""
    amounts = {}
    for line in _lines("/proc/meminfo"):
        name, _, rest = line.partition(":")
        amounts[name] = int(rest.split()[0]) * 1024
    total = amounts.get("MemTotal")
    if total is None and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"total": total, "available": amounts.get("MemAvailable")}


def compilers():
    """Return {command: what it says about its version} of the C compilers at hand; one for several names."""
    found, seen = {}, set()
    names = [*os.environ.get("CC", "").split()[:1], "cc", "gcc", "clang", "cl"]
    for name in names:
        path = shutil.which(name)
        if path and os.path.realpath(path) not in seen:
            seen.add(os.path.realpath(path))
            found[name] = _output([path, "--version"]).partition("\n")[0] or "version unknown"
    return found


def blas():
    """Return the name and version of the library that multiplies matrices for NumPy."""
    build = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(build[key]) for key in ("name", "version") if build.get(key)) or "unknown"


def versions():
    """Return {what: version} of Python and of the packages that tinyllm needs."""
    packages = ("numpy", "regex", "safetensors", "tqdm")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


def cache():
    """Return the folder of the token cache, whether it can be written, how many files it holds and bytes."""
    folder = cache_folder()
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    sizes = [path.stat().st_size for path in folder.glob("*.tokens")] if folder.is_dir() else []
    writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    return {"folder": str(folder), "writable": writable, "files": len(sizes), "bytes": sum(sizes)}


def environment():
    """Return the environment variables that are set and change speed or backend."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}


def summary():
    """Return what every list of measurements has to say about the machine it was made on."""
    return {
        "cpu": cpu_model(),
        "cpus": cpus(),
        "level": level(),
        "threads": registry.threads(),
        "compiled_ops": len(backends().get("compiled", [])),
        "ops": len(registry.OPS),
        "blas": blas(),
        "load": load(),
        "environment": environment(),
    }


def load():
    """Return how many programs wanted a CPU, on average over the last minute; None where nobody counts."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def source_folder():
    """Return the folder of tinyllm's source if this copy runs from there, else None."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "csrc").is_dir() else None


def _lines(path):
    try:
        return Path(path).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _output(command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
