"""From the records of a log to curves: the points that terminal chart and report both draw."""

from dataclasses import dataclass

TINY = 1e-3  # a loss of 0 has no logarithm


@dataclass(frozen=True)
class LossCurves:
    """Train and validation loss as [(step, nats)], and the entropy floor or None.

    `unit` says what a nat is counted per.
    """

    train: list
    val: list
    floor: float | None
    unit: str

    @property
    def floor_in_sight(self) -> bool:
        """Return True if the losses keep a third of a logarithmic axis that also shows the floor."""
        values = [y for _, y in self.train + self.val]
        if self.floor is None or not values:
            return False
        low, high = max(min(values), TINY), max(max(values), TINY)
        return low <= self.floor or low / self.floor <= max(high / low, 1.05) ** 2


def column(records: list[dict], name: str) -> list[tuple[int, float]]:
    """Return [(step, value)] of one field of the step records, where it was measured."""
    steps = [record for record in records if record.get("kind") == "step"]
    return [(record["step"], record[name]) for record in steps if record.get(name) is not None]


def loss_curves(records: list[dict], floor_per_char: float | None = None) -> LossCurves:
    """Choose the unit in which model and language can be compared, and return the curves in it.

    The entropy of a language is known per character. Where every token is one character the losses are too,
    and all three can share a picture. Otherwise only the validation loss is measured per character: that
    and the floor are drawn. Without a floor the losses are drawn as they are, per token.
    """
    per_token, per_char = column(records, "val_loss"), column(records, "val_loss_per_char")
    train = column(records, "train_loss")
    if floor_per_char is None:
        return LossCurves(train, per_token, None, "nats per token")
    if per_token == per_char:
        return LossCurves(train, per_token, floor_per_char, "nats per character")
    return LossCurves([], per_char, floor_per_char, "nats per character")
