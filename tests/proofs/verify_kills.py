"""Kill a training with SIGKILL at random moments, resume it, and compare its end with an untouched run.

    python tests/proofs/verify_kills.py --kills 100

The run saves a checkpoint after every other step, so that many kills hit a save. Weights, optimizer state
and log must be equal bit for bit; only measured times may differ. Exits with 1 if any run differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tiny_run import SETTINGS, outcome, write_text

from tinyllm.rng import Random

ROOT = Path(__file__).resolve().parents[2]
OFTEN = {"train.checkpoint_every": 2, "train.eval_every": 12, "train.sample_every": 50}


def start(folder, text, steps, how):
    """Start `tinyllm train` on a tiny model in another process; `how` is "--resume", or how to begin."""
    settings = SETTINGS | OFTEN | {"train.steps": steps} if how != "--resume" else {}
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    words = ["train", "--data", str(text), "--out", str(folder), how, *sets]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "tinyllm", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def kill_one_run(folder, text, steps, waits):
    """Start and kill a run after each wait, and resume it until it ends -> for each, if it hit a save."""
    hits, how = [], "--overwrite"
    for wait in [*waits, None]:
        process = start(folder, text, steps, how)
        if wait is not None:
            time.sleep(wait)
        if wait is None or process.poll() is not None:
            if process.wait():
                sys.exit(f"training failed with exit code {process.returncode}")
            break
        process.kill()
        process.wait()
        hits.append(any((folder / "checkpoints").glob(".step-*.tmp")))
        how = "--resume" if (folder / "run.json").exists() else "--overwrite"
    return hits


def main(argv=None):
    """Run the trial and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--quick", action="store_const", dest="kills", const=3, help="three kills")
    parser.add_argument("--steps", type=int, default=120, help="length of a run")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    random, hits, equal = Random(args.seed, "kills"), [], []
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        text = write_text(place / "text.txt")
        began = time.monotonic()
        kill_one_run(place / "whole", text, args.steps, [])
        whole_time = time.monotonic() - began
        while len(hits) < args.kills:
            folder = place / f"killed-{len(equal)}"
            waits = random.uniform(args.kills - len(hits)) * whole_time
            hits += kill_one_run(folder, text, args.steps, waits)
            equal.append(outcome(folder) == outcome(place / "whole"))
    print(f"=> {len(hits)} kills, {sum(hits)} of them in a save; {sum(equal)} of {len(equal)} runs "
          "end with the same bits")
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
