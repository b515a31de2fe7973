"""Turn "train for N minutes" into a number of steps, by measuring the speed of this machine.

The number becomes the setting `train.steps`, so the run gives the same bits on any machine.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from tinyllm.errors import UserError
from tinyllm.runs.config import make_config
from tinyllm.runs.recipe import find_recipe
from tinyllm.runs.setup import TrainSetup

SECONDS = 3.0  # of measuring
FEWEST, MOST = 3, 50  # steps to measure


def plan_minutes(setup: TrainSetup, settings: dict[str, Any], minutes: float) -> TrainSetup:
    """Return a setup with the number of steps that this machine does in `minutes`.

    `setup` was made from `settings`, {"train.lr": 0.001, ...}. Settings that depend on the number of steps,
    such as the warm-up, are adapted. Raises UserError if there is no time for a step.
    """
    steps = count_steps(setup, 60 * minutes)
    train = make_config(settings | {"train.steps": steps}).train
    config = dataclasses.replace(setup.config, train=train)
    setup = dataclasses.replace(setup, config=config)
    return dataclasses.replace(setup, plan=find_recipe(config.recipe).build(setup))


def count_steps(setup: TrainSetup, seconds: float) -> int:
    """Estimate, to two digits, how many steps fit into `seconds` together with evaluations and samples.

    The steps train a fresh model, so `setup` does not change. Raises UserError if no step fits.
    """
    config = setup.config.train
    step = seconds_per_step(setup)
    measured = [seconds_of(lambda: setup.plan.evaluate(setup.model)),
                seconds_of(lambda: setup.sample(setup.model))]
    slowest = map(max, zip(*setup.group.gather(measured), strict=True))
    pauses = list(zip(slowest, (config.eval_every, config.sample_every), strict=True))
    first_and_last = 2 * sum(pause for pause, _ in pauses)
    steps = int((seconds - first_and_last) / (step + sum(pause / every for pause, every in pauses)))
    if steps < 1:
        needed = f"evaluations and samples take {first_and_last:.1f} s and a step {step:.1f} s"
        raise UserError(f"{seconds / 60:g} minutes are too short: {needed}; give more --minutes, or --steps")
    unit = 10 ** max(0, len(str(steps)) - 2)
    return steps // unit * unit


def seconds_per_step(setup: TrainSetup) -> float:
    """Measure the mean time of a step on a fresh model, without the first step, which fills caches."""
    next(steps := setup.steps(), None)
    times: list[float] = []
    for done in steps:
        times.append(max(setup.group.gather(done.seconds)))  # all processes choose the same steps
        if len(times) == MOST or (len(times) >= FEWEST and sum(times) > SECONDS):
            break
    if not times:
        raise UserError("--minutes measures some steps first: leave out train.steps")
    return sum(times) / len(times)


def seconds_of(action: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
