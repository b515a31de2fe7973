"""Measure the peak memory of training, in a fresh process for each measurement."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tinyllm.bench
from tinyllm.bench.peers import load_torch
from tinyllm.bench.setting import Setting
from tinyllm.bench.train import training_step
from tinyllm.errors import UserError
from tinyllm.ops.runtime import threads
from tinyllm.train.memory import peak_rss_mb

CHILD = """import json, sys
from {module} import {name} as run
print(json.dumps(run(**json.loads(sys.argv[1]))))
"""


def train_and_look(setting: dict, engine: str, n_threads: int, steps: int) -> dict[str, float | None]:
    """Train for some steps in this process, and return the peak memory in MiB before and after training.

    The process should be fresh: the memory before training is that of the interpreter and its libraries.
    """
    sizes = Setting(**setting)
    peers = load_torch() if engine == "torch" else None
    before = peak_rss_mb()
    threads(n_threads)
    step = peers.training_step(sizes, n_threads)[0] if peers else training_step(sizes)
    for _ in range(steps):
        step()
    return {"libraries_mb": before, "peak_rss_mb": peak_rss_mb()}


@functools.cache  # memory does not vary between calls
def peak_memory(setting: Setting, engine: str, steps: int = 3) -> dict:
    """Train in a fresh process, and return a record with its peak memory. Raises UserError if it fails."""
    work = {"setting": asdict(setting), "engine": engine, "n_threads": threads(), "steps": steps}
    record = {"bench": "memory", "setting": setting.name, "engine": engine, "steps": steps}
    return record | run_child(train_and_look, work, f"training {setting.name} with {engine}")


def run_child(function: Callable[..., dict], work: dict[str, Any], what: str) -> dict:
    """Call function(**work) in a fresh process, and return the result.

    Arguments and result are sent as JSON. Raises UserError when the process fails; `what` names the work.
    """
    script = CHILD.format(module=function.__module__, name=function.__name__)
    package = str(Path(tinyllm.bench.__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, json.dumps(work)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
    )
    if child.returncode != 0:
        why = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise UserError(f"{what} in a fresh process failed: {why}")
    return json.loads(child.stdout)
