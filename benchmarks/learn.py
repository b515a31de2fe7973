"""Train small models, and print what they learn: `python benchmarks/learn.py NAME ... [--set K=V ...]`.

Prints the figures of every seed with the seconds of the processor, then their means and extremes. `--set`
changes settings of an experiment, such as train.steps=1800; their names and defaults stand where it is
defined, in learn_world.py or learn_runs.py.
"""

import argparse
import json
import time
from contextlib import suppress

import learn_runs
import learn_world
import numpy as np

import tinyllm as tl
from tinyllm.config import parse_assignments

EXPERIMENTS = learn_world.EXPERIMENTS | learn_runs.EXPERIMENTS


def main(argv: list[str] | None = None) -> None:
    """Run experiments, and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=EXPERIMENTS, metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--threads", type=int, default=1, help="of the kernels (default 1)")
    parser.add_argument("--set", nargs="+", default=[], metavar="K=V", help="settings of the experiment")
    args = parser.parse_args(argv)
    tl.threads(args.threads)
    settings = parse_assignments(args.set)
    for name, text in settings.items():
        with suppress(ValueError):  # what is no number and no truth value is a text
            settings[name] = json.loads(text)
    for name in args.names:
        results = []
        for seed in range(args.first, args.first + args.seeds):
            began = time.process_time()
            results.append(EXPERIMENTS[name](seed, **settings))
            results[-1]["seconds"] = time.process_time() - began
            print(name, seed, *(f"{what} {value:.4g}" for what, value in results[-1].items()), flush=True)
        for what in results[0]:
            values = [result[what] for result in results]
            print(f"{name:16} {what:24} mean {np.mean(values):.4g}, {min(values):.4g} to {max(values):.4g}")


if __name__ == "__main__":
    main()
