"""Train on 1 to 4 processes by MPI, compare the weights, and kill processes at random moments.

    python tests/proofs/verify_mpi.py --kills 50

After 100 steps, weights, optimizer state and log must have the bits of one process, with and without ZeRO-1.
When one of four processes is killed, the others must end within 5 seconds, and the run goes on with 1, 2 or 4
to the same bits. On every grid of four processes, 50 losses must be within 1e-5 of those of one process.
Exits with 1 if anything differs, and with 77 without mpi4py and MPICH.
"""

import argparse
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from mpi_run import MISSING, flags, ranks, run, start
from tiny_run import FAMILIES, in_pieces, outcome, write_text

from tinyllm.rng import Random
from tinyllm.runs import Run
from tinyllm.runs.log import read_log

GRIDS = (4, 1, 1), (2, 2, 1), (1, 4, 1), (2, 1, 2), (1, 2, 2), (1, 1, 4)  # data x tensor x pipeline


def same_bits(place, text, family, steps):
    """Train a family on 1 to 4 processes, with and without ZeRO-1 -> if all runs end with equal bits."""
    found = []
    for size, zero in ((1, "false"), *itertools.product((2, 3, 4), ("false", "true"))):
        folder = place / f"{family}-{size}-{zero}"
        settings = in_pieces(family, train__steps=steps, train__eval_every=50, parallel__zero=zero)
        assert run(size, flags(folder, text, "--overwrite", settings))[0] == 0
        found.append(outcome(folder))
    return all(each == found[0] for each in found)


def off(place, text, family, steps):
    """Train a family on every grid of four processes -> the largest difference from the losses of one."""
    losses, sizes = [], {"model__layers": 4, "model__heads": 4, "model__width": 16, "train__log_every": 1}
    for data, tensor, pipeline in ((1, 1, 1), *GRIDS):
        folder = place / f"{family}-{data}-{tensor}-{pipeline}"
        settings = in_pieces(family, train__steps=steps, parallel__data=data, parallel__tensor=tensor,
                             parallel__pipeline=pipeline, **sizes)
        if run(data * tensor * pipeline, flags(folder, text, "--overwrite", settings))[0]:
            sys.exit("training failed")
        losses.append([line["train_loss"] or 0.0 for line in read_log(Run(folder).log.path)
                       if line["kind"] == "step"])
    return float(np.abs(np.array(losses) - losses[0]).max())


def kill_one(folder, text, settings, wait, random):
    """Start a run on four processes, kill one after a while, and let 1, 2 or 4 go on -> seconds, steps saved.

    The seconds, until all have ended, are None if the run had ended before; the steps if none was saved.
    """
    shutil.rmtree(folder, ignore_errors=True)
    process = start(4, flags(folder, text, "--overwrite", settings))
    time.sleep(wait)
    started, began = ranks(process), time.monotonic()
    if started:
        os.kill(random.choice(started), signal.SIGKILL)
    process.communicate(timeout=60)
    while any(os.path.exists(f"/proc/{pid}") for pid in started):
        time.sleep(0.01)
    seconds, last = time.monotonic() - began, Run(folder).last_checkpoint()
    how, settings = ("--resume", {}) if (folder / "run.json").exists() else ("--overwrite", settings)
    assert run(random.choice([1, 2, 4]), flags(folder, text, how, settings))[0] == 0
    return seconds if started else None, last and last.name


def main(argv=None):
    """Run the trials and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="20 steps, and three kills")
    args = parser.parse_args(argv)
    if MISSING:
        return 77
    kills, steps, random = 3 if args.quick else args.kills, 20 if args.quick else 100, Random(0, "mpi")
    with tempfile.TemporaryDirectory() as name:
        place, text = Path(name), write_text(Path(name, "text.txt"))
        equal = [family for family in FAMILIES if same_bits(place, text, family, steps)]
        print(f"=> {steps} steps on 1, 2, 3 and 4 processes, and with ZeRO-1: the bits of one for", *equal)
        worst = max(off(place, text, family, steps // 2) for family in ("gpt", "llama"))
        print(f"=> {steps // 2} steps on every grid of four processes: losses within {worst:.1e} of one's")
        settings = in_pieces("gpt", train__steps=steps, train__checkpoint_every=2, parallel__zero="true")
        began = time.monotonic()
        run(4, flags(place / "whole", text, "--overwrite", settings))
        whole, expected, hits, same = time.monotonic() - began, outcome(place / "whole"), [], 0
        while len(hits) < kills:
            seconds, saved = kill_one(place / "run", text, settings, random.uniform() * whole, random)
            if seconds is not None:
                hits.append((seconds, saved))
                same += outcome(place / "run") == expected
    slowest, midway = max(seconds for seconds, _ in hits), sum(saved is not None for _, saved in hits)
    print(f"=> {kills} kills, {midway} of them after a checkpoint: all ended within {slowest:.2f} s;",
          f"{same} runs with equal bits")
    return 0 if len(equal) == len(FAMILIES) and worst <= 1e-5 and same == kills and slowest < 5 else 1


if __name__ == "__main__":
    sys.exit(main())
