"""The most memory that training holds, each time in a process of its own."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import tinyllm.bench
from tinyllm.bench.peers import load_torch
from tinyllm.bench.setting import Setting
from tinyllm.bench.train import training_step
from tinyllm.errors import UserError
from tinyllm.ops.registry import threads
from tinyllm.train.log import peak_rss_mb

CHILD = """import json, sys
from tinyllm.bench.memory import train_and_look
print(json.dumps(train_and_look(**json.loads(sys.argv[1]))))
"""


def train_and_look(setting, engine, n_threads, steps):
    """Train for some steps in this process, which should be a fresh one -> peaks in MiB before and after.

    Before is the interpreter and its libraries, after is what training has added to that.
    """
    setting = Setting(**setting)
    peers = load_torch() if engine == "torch" else None
    before = peak_rss_mb()
    threads(n_threads)
    step = peers.training_step(setting, n_threads)[0] if peers else training_step(setting)
    for _ in range(steps):
        step()
    return {"libraries_mb": before, "peak_rss_mb": peak_rss_mb()}


@functools.cache  # a number of bytes is the same for every bench that asks
def peak_memory(setting, engine, steps=3):
    """Train in a fresh process -> record. Raises UserError when that process fails."""
    work = {"setting": asdict(setting), "engine": engine, "n_threads": threads(), "steps": steps}
    record = {"bench": "memory", "setting": setting.name, "engine": engine}
    return record | run_child(CHILD, work, f"training {setting.name} with {engine}") | {"steps": steps}


def run_child(script, work, what):
    """Run a script in a fresh process with `work` as its argument -> the object that it prints, in JSON.

    Raises UserError when that process fails, saying what it was about to do.
    """
    package = str(Path(tinyllm.bench.__file__).parents[2])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, json.dumps(work)],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    if child.returncode != 0:
        why = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise UserError(f"{what} in a fresh process failed: {why}")
    return json.loads(child.stdout)


def measure_memory(setting, peers=False):
    """Yield the record of tinyllm, and with `peers` that of PyTorch."""
    if peers:
        load_torch()
    ours = peak_memory(setting, "tinyllm")
    if not peers:
        yield ours
        return
    theirs = peak_memory(setting, "torch")
    yield ours | {"share_of_torch": _share(ours["peak_rss_mb"], theirs["peak_rss_mb"])}
    yield theirs


def _share(ours, theirs):
    return ours / theirs if ours and theirs else None
