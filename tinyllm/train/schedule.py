"""Compute learning rates by a schedule: a warm-up, then a fall along half a cosine or a straight line.

Large first steps damage a model, because Adam's statistics are still poor. So the rate rises from zero during
the *warm-up*.
"""

from typing import Any

from tinyllm.ops import lr_schedule


def learning_rate(step: int, config: Any) -> float:
    """Return the learning rate of step `step`, counted from 0; the last step is `steps - 1`.

    `config`, such as a `TrainConfig`, has the fields lr, steps, warmup, schedule and min_lr_ratio, where the
    rate ends as a part of lr.
    """
    if step < config.warmup or config.schedule == "cosine":
        rate = lr_schedule(step, config.steps, config.lr, config.warmup, config.min_lr_ratio)
    else:
        done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
        rate = config.lr * (1.0 - (1.0 - config.min_lr_ratio) * done)
    return float(f"{rate:.9g}")  # cos() may differ in its last bit between C libraries; nine digits do not
