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

REINSTALL = "in the folder of tinyllm's source run: python -m pip install --force-reinstall --no-deps ."


@command("doctor")
def doctor() -> int:
    """Say what this machine and this installation can do.

    The exit code is 0 if all is well, 1 if something needs attention.

    example:
      tinyllm doctor
    """
    facts, problems = examine(), []
    loss, of_specs = facts["losses"]
    if facts["no kernels"]:
        problems.append((f"no compiled kernels ({facts['no kernels']}): all works, on NumPy, but slower",
                         f"install a C compiler such as gcc or clang, if there is none; then {REINSTALL}"))
    if not math.isclose(loss, of_specs, rel_tol=1e-2):
        problems.append((f"the kernels compute something else than their specifications: a trial has loss "
                         f"{loss:.4f}, in plain NumPy {of_specs:.4f}", REINSTALL))
    print("\n".join(entry(f"{name:11}", str(fact)) for name, fact in report(facts).items()))
    print("\nthese need attention:" if problems else "\nall is well")
    for problem, advice in problems:
        print(entry("- ", problem), entry("  -> ", advice), sep="\n")
    return 1 if problems else 0


def examine() -> dict[str, Any]:
    """Collect all facts about the installation, and train for three steps as a trial."""
    return machine.facts() | {
        "no kernels": why_no_kernels(), "losses": trial(), "memory": free_memory(),
        "isolation": {level: why_not(level) for level in LEVELS},
    }


def why_no_kernels() -> str | None:
    """Return why there are no kernels, or None if there are."""
    try:
        importlib.import_module("tinyllm.ops._compiled")
    except ImportError as error:
        return str(error)
    return None


def trial(steps: int = 3) -> tuple[float, float]:
    """Train the preset nano with the current backend and with the specs -> the last losses."""
    losses = []
    for backend in (None, "numpy"):
        with registry.use(backend):
            step = training_step(model_of(SIZES["nano"]), BATCH["nano"])
            losses.append([step() for _ in range(steps)][-1])
    return losses[0], losses[1]


def report(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts in words: {name: fact}."""
    works = {level: reason is None for level, reason in facts["isolation"].items()}
    best = isolation_words(next(level for level in works if works[level])).removeprefix("isolation: ")
    weak = [f"; {level} does not work: {facts['isolation'][level]}" for level in works if not works[level]]
    memory = "unknown" if facts["memory"] is None else f"{facts['memory'] / 2**30:.1f} GiB available"
    return {
        "versions": f"tinyllm {__version__}, python {platform.python_version()}, "
                    f"numpy {np.__version__} with {facts['blas']}",
        "cpu": facts["cpu"],
        "kernels": f"{facts['level']}; built are {', '.join(facts['levels'])}" if facts["level"] else "none",
        "threads": f"{facts['threads']} of {facts['cpus']} CPUs", "memory": memory,
        "trial": "third training step: loss {:.4f}, in plain NumPy {:.4f}".format(*facts["losses"]),
        "isolation": "".join([f"of students' code: {best}", *weak]),
        "settings": ", ".join(f"{name}={value}" for name, value in facts["environment"].items()) or "none",
    }
