"""Implement `tinyllm doctor`, which says what works in this installation and how to repair the rest."""

import importlib
import math
import platform
from typing import Any

import numpy as np

from tinyllm.bench import machine
from tinyllm.bench.rows import BATCH, SIZES, model_of, training_step
from tinyllm.cli.command import command
from tinyllm.course.workers import LEVELS, isolation_words, why_not
from tinyllm.ops import registry
from tinyllm.report.terminal import entry
from tinyllm.train.memory import free_memory
from tinyllm.version import __version__

SLOWING = ("TINYLLM_BACKEND", "TINYLLM_CPU", "TINYLLM_THREADS")  # environment variables
REINSTALL = "in the folder of tinyllm's source run: python -m pip install --force-reinstall --no-deps ."


@command("doctor")
def doctor() -> int:
    """Say what this machine and this installation can do.

    The exit code is 0 if all is well, 1 if something needs attention.

    example:
      tinyllm doctor
    """
    facts = examine()
    problems = diagnose(facts)
    print("\n".join([*report(facts), "", "these need attention:" if problems else "all is well"]))
    for problem, advice in problems:
        print(f"{entry('- ', problem, cut=True)}\n{entry('  -> ', advice, cut=True)}")
    return 1 if problems else 0


def examine() -> dict[str, Any]:
    """Collect all facts about the installation, and train for three steps as a trial."""
    return machine.facts() | {
        "no kernels": why_no_kernels(), "losses": trial(), "memory": free_memory(),
        "isolation": {level: why_not(level) for level in LEVELS},
    }


def why_no_kernels() -> str | None:
    """Return why there are no kernels, or None if there are."""
    if registry._compiled is not None:
        return None
    try:
        importlib.import_module("tinyllm.ops._compiled")
    except ModuleNotFoundError:
        return "they were not built"
    except ImportError as error:
        return str(error)
    return "they did not start"


def trial(steps: int = 3) -> tuple[float, float]:
    """Train the preset nano with the current backend and with the specs -> the last losses."""
    losses = []
    for backend in (None, "numpy"):
        with registry.use(backend):
            step = training_step(model_of(SIZES["nano"]), BATCH["nano"])
            losses.append([step() for _ in range(steps)][-1])
    return losses[0], losses[1]


def diagnose(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Find problems in the facts; return [(what is wrong, what to do)]."""
    loss, of_specs = facts["losses"]
    slowed = [name for name in SLOWING if name in facts["environment"]]
    checks = [
        (facts["no kernels"],
         f"no compiled kernels ({facts['no kernels']}): everything works, on NumPy, but slower",
         f"install a C compiler such as gcc or clang, if there is none; then {REINSTALL}"),
        (not math.isclose(loss, of_specs, rel_tol=1e-2),
         f"the kernels compute something else than their specs: a trial step has loss {loss:.4f}, "
         f"on the specs {of_specs:.4f}", REINSTALL),
        (slowed, f"{', '.join(slowed)} can make the kernels slower", f"unset {' '.join(slowed)}"),
    ]
    return [(problem, advice) for wrong, problem, advice in checks if wrong]


def report(facts: dict[str, Any]) -> list[str]:
    """Write the facts as lines, at most 80 columns wide."""
    versions = f"tinyllm {__version__}, python {platform.python_version()}, numpy {np.__version__}"
    best = next(level for level, reason in facts["isolation"].items() if reason is None)
    isolation = [isolation_words(best).removeprefix("isolation: ")]
    isolation += [f"{level} does not work: {reason}"
                  for level, reason in facts["isolation"].items() if reason]
    memory = "unknown" if facts["memory"] is None else f"{facts['memory'] / 2**30:.1f} GiB available"
    rows = {
        "versions": f"{versions} with {facts['blas']}",
        "cpu": facts["cpu"],
        "kernels": f"level {facts['level']} of {', '.join(facts['levels'])}" if facts["level"] else "none",
        "threads": f"{facts['threads']} of {facts['cpus']} CPUs", "memory": memory,
        "trial": "three training steps: loss {:.4f}, on the specs {:.4f}".format(*facts["losses"]),
        "isolation": "; ".join(isolation),
        "settings": ", ".join(f"{name}={value}" for name, value in facts["environment"].items()) or "none",
    }
    return [entry(f"{label:11}", str(text), cut=True) for label, text in rows.items()]
