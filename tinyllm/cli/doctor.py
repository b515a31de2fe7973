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
    return {"tinyllm": __version__, "kernels": kernels(), "trial": trial(), "unicode": unicode.VERSION,
            "isolation": {level: why_not(level) for level in LEVELS}} | machine.facts()


def kernels() -> dict:
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
    elif root := machine.source_folder():
        built = Path(module.__file__).stat().st_mtime
        files = sorted([*root.glob("csrc/*.[ch]"), *root.glob("csrc/glue/*.p[yx][xid]")])
        newer = next((str(file.relative_to(root)) for file in files if file.stat().st_mtime > built), None)
    return {"built": module is not None, "reason": reason, "older_than": newer}


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
        lines += [entry("- ", p["problem"], cut=True), entry("  -> ", p["advice"], cut=True)]
    return "\n".join(lines)


def _entries(facts: dict) -> Iterator[tuple[str, str]]:
    """Yield (label, text) for each line; an empty label continues the entry above."""
    kernels, trial, memory, pool = (facts[name] for name in ("kernels", "trial", "memory", "pool"))
    none = {"none": "but the kernels are built" if kernels["built"] else "needed for the kernels"}
    compilers = facts["compilers"] or none
    yield "tinyllm", facts["tinyllm"]
    yield "versions", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield "", f"NumPy's BLAS: {facts['blas']}"
    yield "", f"Unicode {facts['unicode']}, for cutting text into pieces"
    yield from _several("compiler", [f"{name}: {version}" for name, version in compilers.items()])
    yield "cpu", facts["cpu"]
    if facts["level"]:
        yield "level", f"{facts['level']} (available: {', '.join(facts['levels'])})"
    yield "threads", f"{facts['threads']} of {facts['cpus']} CPUs"
    many = {"compiled": f"{len(facts['backends'].get('compiled', []))} ops"}
    yield from _several("ops", [f"{backend}: {many.get(backend) or ', '.join(names)}"
                                for backend, names in sorted(facts["backends"].items())])
    yield "trial", (f"three training steps: loss {trial['loss']:.4f}, "
                    f"on the specs {trial['loss_of_specs']:.4f}")
    yield "memory", f"{_size(memory['total'])}, of which {_size(memory['available'])} available"
    if pool:
        sizes = f"idle {_size(pool['idle'])}, peak {_size(pool['peak'])}, at most {_size(pool['capacity'])}"
        yield "pool", f"{pool['hits']:,} hits, {pool['misses']:,} misses; {sizes}"
    yield "cache", facts["cache"]["folder"]
    yield from _several("isolation", _isolation(facts["isolation"]))
    yield from _several("settings", [f"{name}={value}" for name, value in facts["environment"].items()])


def _several(label: str, texts: list[str]) -> Iterator[tuple[str, str]]:
    """Yield a line for each text, the first of them with the label."""
    yield from ((label if i == 0 else "", text) for i, text in enumerate(texts))


def _isolation(reasons: dict[str, str | None]) -> list[str]:
    """Return sentences about the best isolation of exercises that works here, and why others do not."""
    best = next(level for level, reason in reasons.items() if reason is None)
    others = [f"{level} works" if reason is None else f"{level} does not work: {reason}"
              for level, reason in reasons.items() if level not in (best, "plain")]
    said = [isolation_words(best).removeprefix("isolation: "), "; ".join(others),
            f"plain is here: {plain_words()}" if best == "plain" else ""]
    return list(filter(None, said))


def _size(n_bytes: int | None) -> str:
    """Write a number of bytes with a unit: 1234567 -> 1.2 MiB."""
    if n_bytes is None:
        return "an unknown amount"
    power = min(max(n_bytes.bit_length() - 1, 0) // 10, 3)
    return f"{n_bytes / 1024**power:.{min(power, 1)}f} {['bytes', 'KiB', 'MiB', 'GiB'][power]}"
