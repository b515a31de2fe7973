"""Compute learning rates by a schedule: a warm-up, then one of three shapes.

Large first steps damage a model, because Adam's statistics are still poor. So the rate rises from zero during
the *warm-up*. A shape is a function from the progress after the warm-up (0 to 1) to a factor, which falls
from 1 to `low`.
"""

from typing import Any

from tinyllm.ops import lr_schedule


def constant(done: float, low: float) -> float:
    """Return the factor 1, so that the learning rate stays constant after the warm-up."""
    return 1.0


def linear(done: float, low: float) -> float:
    """Return a factor that falls in a straight line."""
    return 1.0 - (1.0 - low) * done


# None: the cosine is computed by an op, `ops.lr_schedule`.
SCHEDULES: dict[str, Any] = {"cosine": None, "constant": constant, "linear": linear}


def learning_rate(step: int, config: Any) -> float:
    """Return the learning rate of step `step`, counted from 0; the last step is `steps - 1`.

    `config`, such as a `TrainConfig`, has the fields lr, steps, warmup, schedule and min_lr_ratio, where the
    rate ends as a part of lr.
    """
    shape = SCHEDULES[config.schedule]
    if step < config.warmup or shape is None:
        rate = lr_schedule(step, config.steps, config.lr, config.warmup, config.min_lr_ratio)
    else:
        done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
        rate = config.lr * shape(done, config.min_lr_ratio)
    return float(f"{rate:.9g}")  # cos() may differ in its last bit between C libraries; nine digits do not
