"""What a run is made of.

`TrainConfig` says how to train, `RunConfig` adds the data, the tokenizer and the model.
"""

import dataclasses
import math
from dataclasses import dataclass, field

from tinyllm.errors import UserError
from tinyllm.train.schedule import SCHEDULES

# What a preset says about training; its model is in `models.gpt.PRESETS`. nano and mini are nanoGPT's
# settings for Shakespeare's characters, small those of GPT-2 124M with a batch that a laptop can hold.
TRAIN_PRESETS = {
    "nano": {"batch": 12},
    "mini": {"batch": 16, "steps": 5000},
    "small": {"batch": 8, "lr": 6e-4, "beta2": 0.95, "steps": 20000},
}

LARGEST = 2**31 - 1  # of anything that is counted


@dataclass(frozen=True)
class TrainConfig:
    """How to train: every number that the training loop uses.

    Raises UserError on a value that cannot work.
    """

    steps: int = 2000
    batch: int = 12  # rows per update
    accumulate: int = 1  # parts that a batch is split into, to save memory; the update stays the same
    lr: float = 1e-3
    schedule: str = "cosine"  # cosine, constant, linear or wsd
    warmup: int | None = None  # steps; left out, it is a twentieth of all
    decay_fraction: float = 0.1  # wsd only: the last part of the steps, in which the rate falls
    min_lr_ratio: float = 0.1  # where the rate ends, as a part of lr
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.1  # of matrices; vectors never decay
    clip: float = 1.0  # longest gradient; 0 switches clipping off
    val_fraction: float = 0.1  # the end of the data, never trained on
    eval_every: int = 100
    eval_windows: int = 120  # validation windows per evaluation, spread evenly
    log_every: int = 10
    checkpoint_every: int = 200
    sample_every: int = 500
    sample_tokens: int = 500
    sample_prompt: str = "\n\n"  # a blank line: where stories and speeches begin
    sample_temperature: float = 0.8

    def __post_init__(self):
        if self.warmup is None:
            object.__setattr__(self, "warmup", self.steps // 20)
        for name in (
            "steps",
            "batch",
            "accumulate",
            "eval_every",
            "eval_windows",
            "log_every",
            "checkpoint_every",
            "sample_every",
            "sample_tokens",
        ):
            self._require(name, getattr(self, name) >= 1, "at least 1")
            self._require(name, getattr(self, name) <= LARGEST, f"at most {LARGEST}")
        for name in ("warmup", "min_lr_ratio", "weight_decay", "clip", "sample_temperature"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        for name in ("lr", "eps"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("lr", "eps", "weight_decay", "clip", "sample_temperature"):
            self._require(name, math.isfinite(getattr(self, name)), "a finite number")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        self._require("min_lr_ratio", self.min_lr_ratio <= 1, "at most 1")
        self._require("decay_fraction", 0 < self.decay_fraction <= 1, "above 0 and at most 1")
        self._require("val_fraction", 0 < self.val_fraction < 1, "between 0 and 1")
        self._require("schedule", self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}")
        if self.batch % self.accumulate:
            raise UserError(
                f"train.batch {self.batch} cannot be split into {self.accumulate} equal parts "
                "(train.accumulate): choose a multiple"
            )

    def _require(self, name, holds, wish):
        if not holds:
            raise UserError(f"train.{name} must be {wish}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run's weights will be: data, tokenizer, model, training and seed.

    `model` holds the fields of `GPTConfig` except the vocabulary, which the tokenizer decides. `threads`
    changes only the speed (None: as many as the machine has).
    """

    data: str = "stories"
    tokenizer: str = "char"
    preset: str = "nano"
    seed: int = 0
    threads: int | None = None
    model: dict = field(default_factory=dict)
    train: TrainConfig = TrainConfig()

    def __post_init__(self):
        if self.threads is not None and self.threads < 1:
            raise UserError(f"threads must be at least 1, got {self.threads}")
        if self.seed < 0:
            raise UserError(f"seed must be 0 or more, got {self.seed}")

    def nested(self):
        """Return all settings as config.json has them: {"data": ..., "model": {"heads": ...}, ...}."""
        return dataclasses.asdict(self)

    def flat(self):
        """Return all settings in one level: {"data": ..., "model.heads": ..., "train.lr": ...}."""
        return flatten(self.nested())


def flatten(nested):
    """Write {"seed": 0, "train": {"lr": 1}} as {"seed": 0, "train.lr": 1}."""
    flat = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat
