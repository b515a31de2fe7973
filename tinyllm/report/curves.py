"""Read the loss curves of a training from its log."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossCurves:
    """Training and validation loss as [(step, nats)], and the entropy of the text if it is known.

    `unit` is "nats per token" or "nats per character".
    """

    train: list
    val: list
    floor: float | None
    unit: str


def column(records: list[dict], name: str) -> list[tuple[int, float]]:
    """Return [(step, value)] for one field of a log; steps without a value are left out."""
    steps = [record for record in records if record.get("kind") == "step"]
    return [(record["step"], record[name]) for record in steps if record.get(name) is not None]


def characters_per_token(records: list[dict]) -> float | None:
    """Return the mean number of characters per token in the validation text, or None if unknown."""
    for record in reversed(records):
        per_token, per_char = record.get("val_loss"), record.get("val_loss_per_char")
        if per_token is not None and per_char is not None:
            size = per_token / per_char if per_char else 1.0
            return size if 1e-6 < size < 1e6 else 1.0  # a model that is perfect, or a log that is not
    return None


def loss_curves(records: list[dict], floor_per_char: float | None = None) -> LossCurves:
    """Return a log's loss curves in nats per character, or per token if the length of tokens is unknown.

    Losses per character can be compared between tokenizers, and with the entropy floor. A log has the
    training loss per token only, so it is divided by the mean number of characters per validation token.
    """
    train, size = column(records, "train_loss"), characters_per_token(records)
    if size is None:
        return LossCurves(train, column(records, "val_loss"), None, "nats per token")
    train = [(step, nats / size) for step, nats in train]
    return LossCurves(train, column(records, "val_loss_per_char"), floor_per_char, "nats per character")
