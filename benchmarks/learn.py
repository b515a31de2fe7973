"""Train small models, and print what they learn: `python benchmarks/learn.py NAME ... [--set K=V ...]`.

Prints the figures of every seed with the seconds of the processor, then their means with 95 % intervals
(Student's t). `--set` changes settings of an experiment, such as train.steps=1800; their names and defaults
stand where it is defined, in learn_world.py or learn_runs.py.
"""

import argparse
import json
import math
import time

import learn_runs
import learn_world
import numpy as np

import tinyllm as tl
from tinyllm.config import parse_assignments

EXPERIMENTS = learn_world.EXPERIMENTS | learn_runs.EXPERIMENTS
STUDENT_T = {  # seeds -> half a 95 % interval in standard errors
    2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262,
}


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
    settings = {name: value_of(text) for name, text in parse_assignments(args.set).items()}
    rows = [row for name in args.names for row in measure(name, args.first, args.seeds, settings)]
    print(f"\n{'experiment':16} {'figure':24} {'mean':>8}   95 % interval over {args.seeds} seeds")
    for name, what, mean, half in rows:
        print(f"{name:16} {what:24} {mean:8.4g}   +- {half:.2g}")


def value_of(text: str):
    """Return a setting as a number or a truth value if it looks like one, else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def measure(name: str, first: int, seeds: int, settings: dict) -> list[tuple]:
    """Run one experiment with some seeds, print each -> [(name, figure, mean, half a 95 % interval)]."""
    results = []
    for seed in range(first, first + seeds):
        began = time.process_time()
        figures = EXPERIMENTS[name](seed, **settings)
        results.append(figures | {"seconds": time.process_time() - began})
        print(name, seed, *(f"{what} {value:.4g}" for what, value in results[-1].items()), flush=True)
    table = []
    for what in results[0]:
        values = np.array([result[what] for result in results])
        error = values.std(ddof=1) / math.sqrt(seeds) if seeds > 1 else math.nan
        table.append((name, what, values.mean(), error * STUDENT_T.get(seeds, 2.262)))
    return table


if __name__ == "__main__":
    main()
