"""Kill a training with SIGKILL at random moments, resume it, and compare its end with an untouched run.

    python tests/proofs/verify_kills.py --kills 100

The run saves a checkpoint after every other step, so that many kills hit a save. Weights, optimizer state
and log must be equal bit for bit; only measured times may differ. Prints how many kills hit what, and exits
with 1 if any run differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tiny_run import SETTINGS, outcome, write_text

from tinyllm.rng import Random

ROOT = Path(__file__).resolve().parents[2]
OFTEN = {"train.checkpoint_every": 2, "train.eval_every": 12, "train.sample_every": 50}


def start(folder, text, steps, extra=()):
    """Start `tinyllm train` on a tiny model in another process."""
    settings = SETTINGS | OFTEN | {"train.steps": steps}
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    if "--resume" in extra:
        sets = []
    files = ["--data", str(text), "--out", str(folder)]
    command = [sys.executable, "-m", "tinyllm", "train", *files, *sets, *extra]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = os.environ | {"PYTHONPATH": path, "TINYLLM_CACHE": str(folder.parent / "cache")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process):
    """Wait for a process to end well."""
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"training failed with exit code {process.returncode}: {errors.decode()}")


def what_was_hit(folder):
    """Say in the middle of what the process died, from what it left behind."""
    if not (folder / "run.json").exists():
        return "the start"
    leftovers = [path.name for path in (folder / "checkpoints").glob(".step-*.tmp")]
    if any(not name.endswith(".old.tmp") for name in leftovers):
        return "a save"
    return "deleting an old checkpoint" if leftovers else "something else"


def kill_one_run(folder, text, steps, kills, whole_time, random, hits):
    """Start, kill and resume one run until it ends or `kills` are used up; return how many were."""
    used = 0
    extra = []
    while True:
        process = start(folder, text, steps, extra)
        if used < kills:
            time.sleep(random.uniform() * whole_time)
        if used >= kills or process.poll() is not None:
            finish(process)
            return used
        process.kill()
        process.communicate()
        used += 1
        hits[what_was_hit(folder)] += 1
        begun = (folder / "run.json").exists()  # before that there is only a beginning to repeat
        extra = ["--resume"] if begun else ["--overwrite"]


def same(found, expected):
    """Compare two outcomes, and name what differs."""
    for path in sorted(found[0].keys() | expected[0].keys()):
        if found[0].get(path) != expected[0].get(path):
            print(f"different: {path}")
    if found[1] != expected[1]:
        print(f"different: log.jsonl, {len(found[1])} records against {len(expected[1])}")
    return found == expected


def main(argv=None):
    """Run the trial and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--steps", type=int, default=120, help="length of a run")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    random, hits = Random(args.seed, "kills"), Counter()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        text = write_text(place / "text.txt")
        began = time.monotonic()
        finish(start(place / "whole", text, args.steps))
        whole_time = time.monotonic() - began
        expected = outcome(place / "whole")
        killed = runs = equal = 0
        while killed < args.kills:
            folder = place / f"killed-{runs}"
            killed += kill_one_run(folder, text, args.steps, args.kills - killed, whole_time, random, hits)
            equal += same(outcome(folder), expected)
            runs += 1
    where = ", ".join(f"{count} hit {what}" for what, count in hits.most_common())
    print(f"=> {killed} kills ({where}); {equal} of {runs} runs ended with the bits of the untouched one")
    return 0 if equal == runs else 1


if __name__ == "__main__":
    sys.exit(main())
