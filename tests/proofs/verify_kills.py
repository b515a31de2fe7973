"""Kill a training with SIGKILL at random moments, resume it, and compare its end with an untouched run.

    python tests/proofs/verify_kills.py --kills 100

The run saves a checkpoint after every other step, so that many kills hit a save. Weights, optimizer state
and log must be equal bit for bit; only measured times may differ. Exits with 1 if any run differs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tiny_run import SETTINGS, outcome, write_text

from tinyllm.rng import Random

OFTEN = {"train.checkpoint_every": 2, "train.eval_every": 12, "train.sample_every": 50, "train.steps": 120}


def start(folder, text, how):
    """Start `tinyllm train` on a tiny model in another process; `how` is --resume or --overwrite."""
    settings = SETTINGS | OFTEN if how != "--resume" else {}
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    words = ["train", "--data", str(text), "--out", str(folder), how, *sets]
    return subprocess.Popen([sys.executable, "-m", "tinyllm", *words], stdout=subprocess.DEVNULL)


def kill_one_run(folder, text, waits):
    """Start or resume a run, kill it after each wait, then let it end -> for each kill, if it hit a save."""
    hits, how = [], "--overwrite"
    for wait in waits:
        process = start(folder, text, how)
        time.sleep(wait)
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        hits.append(any((folder / "checkpoints").glob(".step-*.tmp")))
        how = "--resume" if (folder / "run.json").exists() else "--overwrite"
    if start(folder, text, how).wait():
        sys.exit("training failed")
    return hits


def main(argv=None):
    """Run the trial and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--quick", action="store_const", dest="kills", const=3, help="three kills")
    kills = parser.parse_args(argv).kills
    random, hits, equal = Random(0, "kills"), [], []
    with tempfile.TemporaryDirectory() as place:
        text, whole = write_text(Path(place, "text.txt")), Path(place, "whole")
        began = time.monotonic()
        kill_one_run(whole, text, [])
        whole_time = time.monotonic() - began
        while len(hits) < kills:
            folder = Path(place, f"killed-{len(equal)}")
            hits += kill_one_run(folder, text, random.uniform(kills - len(hits)) * whole_time)
            equal.append(outcome(folder) == outcome(whole))
    print(f"=> {len(hits)} kills, {sum(hits)} of them in a save; {sum(equal)} of {len(equal)} runs "
          "end with the same bits")
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
