"""Define the events that `train` yields: small records of what happened, which the caller may show."""

from dataclasses import dataclass, field

# Fields of the log that differ when a run is repeated; all others are the same, bit for bit.
MEASURED = ("tokens_per_second", "seconds", "peak_rss_mb")
STEP_FIELDS = ("train_loss", "val_loss", "val_loss_per_char", "lr", "grad_norm", *MEASURED)


@dataclass(frozen=True)
class Started:
    """Training begins or continues: `step` of all `steps` updates are done."""

    step: int
    steps: int


@dataclass(frozen=True)
class Stepped:
    """Update number `step` is done, counted from 1; `numbers` come from the loss and the loop's `report`."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    seconds: float
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated:
    """The validation loss after `step` updates, per token and per character; `numbers` has all measures."""

    step: int
    val_loss: float
    val_loss_per_char: float | None
    best: bool
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A client of a federated training sent nothing that can be used in the round `step`."""

    step: int
    text: str


@dataclass(frozen=True)
class Sampled:
    """A text that the model wrote after `step` updates."""

    step: int
    text: str


@dataclass(frozen=True)
class Logged:
    """`record` has been added to log.jsonl."""

    record: dict


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop before its last step; everything up to `step` is saved."""

    step: int
