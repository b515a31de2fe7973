"""Implement `tinyllm doctor`, which says what works in this installation and how to repair the rest."""

import importlib
import math
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import Any

from tinyllm.bench import machine
from tinyllm.bench.rows import BATCH, SIZES, model_of, training_step
from tinyllm.cli.command import command
from tinyllm.course.workers import LEVELS, isolation_words, plain_words, why_not
from tinyllm.ops import registry
from tinyllm.report.terminal import entry
from tinyllm.train.memory import free_memory
from tinyllm.version import __version__

PACKAGES = ("numpy", "regex", "safetensors", "tqdm")
REINSTALL = "in the folder of tinyllm's source run: python -m pip install --force-reinstall --no-deps ."


@command("doctor")
def doctor(*, json: bool = False) -> int:
    """Say what this machine and this installation can do.

    The exit code is 0 if all is well, 1 if something needs attention.

    --json  print one JSON object

    examples:
      tinyllm doctor
      tinyllm doctor --json | python -m json.tool
    """
    facts = examine()
    problems = diagnose(facts)
    if json:
        print(dumps({"ok": not problems, "problems": problems} | facts))
    else:
        print(report(facts, problems))
    return 1 if problems else 0


def examine() -> dict[str, Any]:
    """Collect all facts about the installation, and train for three steps as a trial."""
    return machine.facts() | {
        "versions": {"tinyllm": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
        "kernels": kernels(), "trial": trial(),
        "compiler": next(filter(None, map(shutil.which, ("cc", "gcc", "clang", "cl"))), None),
        "available_memory": free_memory(),
        "isolation": {level: why_not(level) for level in LEVELS},
    }


def kernels() -> dict[str, Any]:
    """Describe the kernels: {"built": True or False, "reason": why not, "older_than": newer source file}."""
    module: Any = registry._compiled
    reason, newer = None, None
    if module is None:
        try:
            importlib.import_module("tinyllm.ops._compiled")
        except ModuleNotFoundError:
            reason = "they were not built"
        except ImportError as error:
            reason = str(error)
    else:
        built, source = Path(module.__file__).stat().st_mtime, Path(__file__).resolve().parents[2] / "csrc"
        files = sorted([*source.glob("*.[ch]"), *source.glob("glue/*.p[yx][xid]")])  # none once installed
        newer = next((f"csrc/{file.relative_to(source)}" for file in files if file.stat().st_mtime > built),
                     None)
    return {"built": module is not None, "reason": reason, "older_than": newer}


def trial(steps: int = 3) -> dict[str, Any]:
    """Train the preset nano with the current backend and with the specs, and compare the last losses."""
    losses = []
    for backend in (None, "numpy"):
        with registry.use(backend):
            step = training_step(model_of(SIZES["nano"]), BATCH["nano"])
            losses.append([step() for _ in range(steps)][-1])
    now, specs = losses
    return {"loss": now, "loss_of_specs": specs, "agree": math.isclose(now, specs, rel_tol=1e-2)}


def diagnose(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Find problems in the facts; return [{"problem": what is wrong, "advice": what to do}]."""
    state, trial = facts["kernels"], facts["trial"]
    best, available = next(iter(facts["levels"]), None), facts["available_memory"]
    build = REINSTALL if facts["compiler"] else f"install a C compiler such as gcc or clang, then {REINSTALL}"
    losses = f"a trial step has loss {trial['loss']:.4f}, on the specs {trial['loss_of_specs']:.4f}"
    on_numpy = state["built"] and facts["environment"].get("TINYLLM_BACKEND") == "numpy"
    checks = [
        (not state["built"],
         f"no compiled kernels ({state['reason']}): everything works, on NumPy, but slower", build),
        (state["older_than"], f"the kernels are older than their source, {state['older_than']}", REINSTALL),
        (not trial["agree"], f"the kernels compute something else than their specs: {losses}", REINSTALL),
        (on_numpy, "TINYLLM_BACKEND=numpy keeps the kernels from running", "unset TINYLLM_BACKEND"),
        (facts["level"] != best,
         f"the kernels run at level {facts['level']}, though this CPU can do {best}", "unset TINYLLM_CPU"),
        (facts["threads"] > facts["cpus"],
         f"{facts['threads']} threads share {facts['cpus']} CPUs, which makes them wait for each other",
         f"unset TINYLLM_THREADS, or set it to {facts['cpus']}"),
        (available is not None and available < 2**29,
         "less than 512 MiB of memory are available", "close other programs, or train nano only"),
    ]
    return [{"problem": problem, "advice": advice} for wrong, problem, advice in checks if wrong]


def report(facts: dict[str, Any], problems: list[dict[str, str]]) -> str:
    """Write the facts and the problems as text, at most 80 columns wide."""
    lines = [entry(f"{label:11}", text, cut=True) for label, text in _entries(facts)]
    lines += ["", "these need attention:" if problems else "all is well"]
    for p in problems:
        lines += [entry("- ", p["problem"], cut=True), entry("  -> ", p["advice"], cut=True)]
    return "\n".join(lines)


def _entries(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (label, text) for each line."""
    trial, isolation = facts["trial"], facts["isolation"]
    yield "versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield "BLAS", f"{facts['blas']}, of NumPy"
    yield "compiler", facts["compiler"] or "none"
    yield "cpu", facts["cpu"]
    yield "kernels", f"level {facts['level']} of {', '.join(facts['levels'])}" if facts["level"] else "none"
    yield "threads", f"{facts['threads']} of {facts['cpus']} CPUs"
    yield "trial", (f"three training steps: loss {trial['loss']:.4f}, "
                    f"on the specs {trial['loss_of_specs']:.4f}")
    if facts["available_memory"] is not None:
        yield "memory", f"{facts['available_memory'] / 2**30:.1f} GiB available"
    best = next(level for level, reason in isolation.items() if reason is None)
    yield "isolation", isolation_words(best).removeprefix("isolation: ")
    if best == "plain":
        yield "", f"plain is here: {plain_words()}"
    for level, reason in isolation.items():
        if reason is not None:
            yield "", f"{level} does not work: {reason}"
    for name, value in facts["environment"].items():
        yield "setting", f"{name}={value}"
