"""Define TrainConfig, the settings of the training loop, and the learning rate that they give each step."""

from dataclasses import dataclass
from typing import Any

from tinyllm.config import check, fill_in, setting
from tinyllm.errors import UserError
from tinyllm.ops import lr_schedule

COUNT = {"min": 1, "max": 2**31 - 1}


@dataclass(frozen=True)
class TrainConfig:
    """The settings of the training loop. Raises UserError on a value that cannot work."""

    steps: int = setting(2000, help="updates", **COUNT)
    batch: int = setting(12, help="rows per update", **COUNT)
    accumulate: int = setting(1, help="parts that a batch is split into, to save memory", **COUNT)
    even: bool = setting(False, help="windows are spread evenly over the text, not independent")
    precision: str = setting("float32", help="bf16 rounds what is multiplied", choices=("float32", "bf16"))
    optimizer: str = setting("adamw", help="what updates weights", choices=("adamw", "muon"))
    lr: float = setting(1e-3, help="the highest learning rate", above=0)
    schedule: str = setting("cosine", help="shape of the learning rate", choices=("cosine", "linear"))
    warmup: int | None = setting(None, help="steps of warm-up; none: a twentieth of all", min=0)
    min_lr_ratio: float = setting(0.1, help="where the rate ends, as a part of lr; 1: constant", min=0, max=1)
    beta2: float = setting(0.99, help="AdamW: memory of the gradient's square", min=0, below=1)
    weight_decay: float = setting(0.1, help="decay of matrices; vectors never decay", min=0)
    clip: float = setting(1.0, help="the longest gradient; 0 switches clipping off", min=0)
    val_fraction: float = setting(0.1, help="the end of the data, never trained on", above=0, below=1)
    eval_every: int = setting(100, help="steps between evaluations", **COUNT)
    eval_windows: int = setting(120, help="validation rows per evaluation", **COUNT)
    log_every: int = setting(10, help="steps between lines of log.jsonl", **COUNT)
    checkpoint_every: int = setting(200, help="steps between checkpoints", **COUNT)
    sample_every: int = setting(500, help="steps between samples", **COUNT)
    sample_tokens: int = setting(500, help="the length of a sample", **COUNT)
    sample_prompt: str | None = setting(None, help="what a sample begins with; none: the recipe decides")
    sample_temperature: float = setting(0.8, help="temperature of samples, and of generate", min=0)
    sample_min_p: float = setting(0.1, help="min-p of samples: least share of the likeliest", min=0, max=1)

    def __post_init__(self):
        check(self, "train.")
        fill_in(self, warmup=self.steps // 20)
        if self.batch % self.accumulate:
            raise UserError(f"train.batch {self.batch} cannot be split into {self.accumulate} equal parts "
                            "(train.accumulate): choose a multiple, "
                            f"such as {-(-self.batch // self.accumulate) * self.accumulate}")


def learning_rate(step: int, config: Any) -> float:
    """Return the learning rate of step `step`, counted from 0; the last step is `steps - 1`.

    It rises from zero during the *warm-up*, because Adam's statistics are still poor and large steps would
    damage the model. Then it falls to `min_lr_ratio` of lr, along half a cosine or a straight line.
    """
    if step < config.warmup or config.schedule == "cosine":
        rate = lr_schedule(step, config.steps, config.lr, config.warmup, config.min_lr_ratio)
    else:
        done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
        rate = config.lr * (1.0 - (1.0 - config.min_lr_ratio) * done)
    return float(f"{rate:.9g}")  # cos() may differ in its last bit between C libraries; nine digits do not
