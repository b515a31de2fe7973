"""Implement `tinyllm doctor`, which says what works in this installation and how to repair the rest."""

import importlib
import math
from collections.abc import Iterator
from json import dumps
from pathlib import Path
from typing import Any

from tinyllm.bench import machine
from tinyllm.bench.rows import BATCH, SIZES, model_of, training_step
from tinyllm.cli.command import command
from tinyllm.course.workers import LEVELS, isolation_words, plain_words, why_not
from tinyllm.ops import registry, unicode
from tinyllm.report.terminal import entry
from tinyllm.version import __version__

REINSTALL = "python -m pip install --force-reinstall --no-deps ."


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


def examine() -> dict:
    """Collect all facts about the installation, and train for three steps as a trial."""
    facts = {"tinyllm": __version__, "kernels": kernels(), "trial": trial()}
    facts |= {"unicode": unicode.VERSION}
    facts |= {"isolation": {level: why_not(level) for level in LEVELS}}
    return facts | machine.summary() | machine.installation()


def kernels() -> dict:
    """Describe the kernels: {"built": True or False, "reason": why not, "older_than": newer source file}."""
    module = registry._compiled
    reason = None
    if module is None:
        try:
            importlib.import_module("tinyllm.ops._compiled")
        except ModuleNotFoundError:
            reason = "they were not built"
        except ImportError as error:
            reason = str(error)
    return {"built": module is not None, "reason": reason, "older_than": _newer_source(module)}


def _newer_source(module: Any) -> str | None:
    """Return a source file that has changed since the kernels were built; None outside of a source folder."""
    root = machine.source_folder()
    if root is None or not getattr(module, "__file__", None):
        return None
    built = Path(module.__file__).stat().st_mtime
    files = [*root.glob("csrc/*.[ch]"), *root.glob("csrc/glue/*.p[yx][xid]")]
    return next((str(path.relative_to(root)) for path in sorted(files) if path.stat().st_mtime > built), None)


def trial(steps: int = 3) -> dict:
    """Train the preset nano with the current backend and with the specs, and compare the last losses."""
    losses = []
    for backend in (None, "numpy"):
        with registry.use(backend):
            step = training_step(model_of(SIZES["nano"]), BATCH["nano"])
            losses.append([step() for _ in range(steps)][-1])
    now, specs = losses
    return {"loss": now, "loss_of_specs": specs, "agree": math.isclose(now, specs, rel_tol=1e-2)}


def diagnose(facts: dict) -> list[dict[str, str]]:
    """Find problems in the facts; return [{"problem": what is wrong, "advice": what to do}]."""
    state, trial, cache = facts["kernels"], facts["trial"], facts["cache"]
    best, available = next(iter(facts["levels"]), None), facts["memory"]["available"]
    again = f"in the folder of tinyllm's source run: {REINSTALL}"
    build = again if facts["compilers"] else f"install a C compiler such as gcc or clang, then {again}"
    losses = f"a trial step has loss {trial['loss']:.4f}, on the specs {trial['loss_of_specs']:.4f}"
    on_numpy = state["built"] and facts["environment"].get("TINYLLM_BACKEND") == "numpy"
    checks = [
        (not state["built"],
         f"no compiled kernels ({state['reason']}): everything works, on NumPy, but slower", build),
        (state["older_than"], f"the kernels are older than their source, {state['older_than']}", again),
        (not trial["agree"], f"the kernels compute something else than their specs: {losses}", again),
        (on_numpy, "TINYLLM_BACKEND=numpy keeps the kernels from running", "unset TINYLLM_BACKEND"),
        (facts["level"] != best,
         f"the kernels run at level {facts['level']}, though this CPU can do {best}", "unset TINYLLM_CPU"),
        (facts["threads"] > facts["cpus"],
         f"{facts['threads']} threads share {facts['cpus']} CPUs, which makes them wait for each other",
         f"unset TINYLLM_THREADS, or set it to {facts['cpus']}"),
        (available is not None and available < 2**29,
         f"only {_size(available)} of memory are available", "close other programs, or train nano only"),
        (not cache["writable"],
         f"the cache folder {cache['folder']} cannot be written, so each text is encoded every time",
         "set TINYLLM_CACHE to a folder that you may write to"),
    ]
    return [{"problem": problem, "advice": advice} for wrong, problem, advice in checks if wrong]


def report(facts: dict, problems: list[dict[str, str]]) -> str:
    """Write the facts and the problems as text, at most 80 columns wide."""
    lines = [entry(f"{label:11}", text, cut=True) for label, text in _entries(facts)]
    if not problems:
        return "\n".join([*lines, "", "all is well"])
    count = len(problems)
    lines += ["", "1 thing needs attention:" if count == 1 else f"{count} things need attention:"]
    for p in problems:
        lines.append(entry("- ", p["problem"], cut=True))
        lines.append(entry("  -> ", p["advice"], cut=True))
    return "\n".join(lines)


def _entries(facts: dict) -> Iterator[tuple[str, str]]:
    """Yield (label, text) for each line; an empty label continues the entry above."""
    yield "tinyllm", facts["tinyllm"]
    yield "versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield "", f"NumPy's BLAS: {facts['blas']}"
    yield "", f"Unicode {facts['unicode']}, for cutting text into pieces"
    none = {"none": "but the kernels are built" if facts["kernels"]["built"] else "needed for the kernels"}
    for i, (name, version) in enumerate((facts["compilers"] or none).items()):
        yield "" if i else "compiler", f"{name}: {version}"
    yield "cpu", facts["cpu"]
    if facts["level"]:
        yield "level", f"{facts['level']} (available: {', '.join(facts['levels'])})"
    yield "threads", f"{facts['threads']} of {facts['cpus']} CPUs"
    for i, (backend, names) in enumerate(sorted(facts["backends"].items())):
        many = backend == "compiled" and len(names) > 10
        yield "" if i else "ops", f"{backend}: " + (f"{len(names)} ops" if many else ", ".join(names))
    trial = facts["trial"]
    specs = f"on the specs {trial['loss_of_specs']:.4f}"
    yield "trial", f"three training steps: loss {trial['loss']:.4f}, {specs}"
    memory, pool, cache = facts["memory"], facts["pool"], facts["cache"]
    yield "memory", f"{_size(memory['total'])}, of which {_size(memory['available'])} available"
    if pool:
        sizes = f"idle {_size(pool['idle'])}, peak {_size(pool['peak'])}, at most {_size(pool['capacity'])}"
        yield "pool", f"{pool['hits']:,} hits, {pool['misses']:,} misses; {sizes}"
    yield "cache", cache["folder"]
    yield from _isolation(facts["isolation"])
    for i, (name, value) in enumerate(facts["environment"].items()):
        yield "" if i else "settings", f"{name}={value}"


def _isolation(reasons: dict[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield lines about the best isolation of exercises that works here, and why others do not."""
    best = next(level for level, reason in reasons.items() if reason is None)
    yield "isolation", isolation_words(best).removeprefix("isolation: ")
    others = [f"{level} works" if reason is None else f"{level} does not work: {reason}"
              for level, reason in reasons.items() if level not in (best, "plain")]
    if others:
        yield "", "; ".join(others)
    if best == "plain":
        yield "", f"plain is here: {plain_words()}"


def _size(n_bytes: int | None) -> str:
    """Write a number of bytes with a unit: 1234567 -> 1.2 MiB."""
    if n_bytes is None:
        return "an unknown amount"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"
