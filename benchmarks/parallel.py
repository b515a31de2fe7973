"""Predict training on this machine from measured pieces of it, and hold the prediction to `mpiexec` itself.

    python benchmarks/parallel.py [--presets nano mini] [--processes 1 2 4] [--steps 20]
    python benchmarks/parallel.py --race 5 --presets mini  # two processes of one thread beside one of two

N processes measure at once what `tinyllm plan` takes from data sheets: their roof, and with a model of two
layers the speed of training, and of sums of gradients. tinyllm.parallel.simulate predicts a step of the whole
model from these. Then N processes train it, and the log says what a step took. Both are wall time, so
nothing else may run. `pip install --editable '.[mpi]'` installs MPI.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from timeit import repeat

import numpy as np

from tinyllm.bench.machine import measure_roof
from tinyllm.bench.rows import SIZES, trainer
from tinyllm.models import build
from tinyllm.nn.module import forward_flops
from tinyllm.parallel.mpi import connect
from tinyllm.parallel.simulate import Grid, Machine, Work, simulate
from tinyllm.report.terminal import table
from tinyllm.train.loop import add_gradients

PIECES = 4  # of a batch
ROWS = {"nano": 12, "mini": 4}  # of a piece
SETTINGS = [f"train.accumulate={PIECES}", "train.log_every=2",
            *(f"train.{what}_every=10000" for what in ("eval", "sample", "checkpoint"))]


def predict(preset: str) -> None:
    """Print the predicted seconds of a step; `mpiexec` starts this in several processes."""
    group, rows, sizes = connect(), ROWS[preset], SIZES[preset] | {"layers": 2}
    step, roof, parameters = trainer(sizes, rows), measure_roof(0.5), build(sizes).parameters()
    for p in parameters:
        p.grad = np.zeros_like(p.data)
    tasks = step.run, lambda: add_gradients(parameters, group)
    times = [median(repeat(task, number=1, repeat=10)[1:]) for task in tasks]
    found = group.gather([roof.gflops * 1e9, roof.gb_per_second * 1e9, *times])
    peak, bandwidth, taken, summed = np.mean(found, axis=0).tolist()
    sent = 2 * (group.size - 1) / group.size * sum(p.data.nbytes for p in parameters)
    link = [sent / summed or bandwidth, 0.0]  # what messages wait is in the sum
    here = Machine(group.size, peak, step.amounts["flops"] / taken / peak, 0.0, bandwidth, link, link, [],
                   number=4, state=8, overlap=False)
    model = build(SIZES[preset])
    context = model.config.context
    work = Work(model.config, model.num_parameters(), forward_flops(model, context), context, PIECES * rows)
    if group.rank == 0:
        print(simulate(here, work, Grid(group.size, micro=rows, zero=0)).seconds)


def measure(preset: str, start: list[str], steps: int) -> float:
    """Train, and return the median seconds of a step."""
    with tempfile.TemporaryDirectory() as folder:
        batch = PIECES * ROWS[preset]
        said = ["--model", "gpt2", "--preset", preset, "--batch", str(batch), "--steps", str(steps),
                "--out", f"{folder}/run", *(f"--set={setting}" for setting in SETTINGS)]
        subprocess.run([*start, "-m", "tinyllm", "train", *said], check=True, stdout=subprocess.DEVNULL)
        records = map(json.loads, Path(folder, "run", "log.jsonl").read_text().splitlines())
        speeds = [r["tokens_per_second"] for r in records if r.get("tokens_per_second")]
        return batch * SIZES[preset]["context"] / median(speeds)


def race(preset: str, steps: int, turns: int) -> None:
    """Print the speed of two processes of one thread each beside one of two threads, measured in turns."""
    one, two = ([*start, "env", f"TINYLLM_THREADS={threads}", sys.executable]
                for start, threads in (([], 2), (["mpiexec", "-n", "2"], 1)))
    times = [(measure(preset, one, steps), measure(preset, two, steps)) for _ in range(turns)]
    alone, together = map(median, zip(*times, strict=True))
    print(f"{preset}: a step takes one process {alone:.4f} s, two {together:.4f} s, medians of {turns}: "
          f"{alone / together:.3f} of the speed")


def main(arguments: list[str] | None = None) -> None:
    """Print a table of predicted and measured seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["nano", "mini"], choices=ROWS)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--race", type=int, default=0, metavar="TURNS")
    parser.add_argument("--predict", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.predict:
        return predict(args.predict)
    if args.race:
        for preset in args.presets:
            race(preset, args.steps, args.race)
        return
    rows = []
    for preset in args.presets:
        for n in args.processes:
            start = [*(["mpiexec", "-n", str(n)] if n > 1 else []), sys.executable]
            predicted = float(subprocess.check_output([*start, __file__, "--predict", preset]))
            measured = measure(preset, start, args.steps)
            numbers = f"{predicted:.4f}", f"{measured:.4f}", f"{predicted / measured:.2f}"
            rows.append([preset, str(n), *numbers])
    print(*table(["model", "processes", "predicted s", "measured s", "ratio"], rows), sep="\n")


if __name__ == "__main__":
    main()
