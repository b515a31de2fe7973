"""Turn the records of a log into curves, which the terminal chart and the report draw."""

from dataclasses import dataclass

TINY = 1e-3  # a loss of 0 has no logarithm


@dataclass(frozen=True)
class LossCurves:
    """Train and validation loss as [(step, nats)], and the entropy floor or None.

    `unit` is "nats per token" or "nats per character".
    """

    train: list
    val: list
    floor: float | None
    unit: str

    @property
    def floor_in_sight(self) -> bool:
        """Return True if a logarithmic axis from the floor up leaves at least a third for the losses."""
        values = [y for _, y in self.train + self.val]
        if self.floor is None or not values:
            return False
        low, high = max(min(values), TINY), max(max(values), TINY)
        return low <= self.floor or low / self.floor <= max(high / low, 1.05) ** 2


def column(records: list[dict], name: str) -> list[tuple[int, float]]:
    """Return [(step, value)] of one field of the step records, without missing values."""
    steps = [record for record in records if record.get("kind") == "step"]
    return [(record["step"], record[name]) for record in steps if record.get(name) is not None]


def loss_curves(records: list[dict], floor_per_char: float | None = None) -> LossCurves:
    """Return the loss curves in a unit that allows a comparison with the entropy floor.

    The floor is in nats per character. If every token is one character, so are both losses, and the result
    holds all three curves. Otherwise only the validation loss is known per character, and the result holds it
    and the floor. Without a floor the losses are in nats per token.
    """
    per_token, per_char = column(records, "val_loss"), column(records, "val_loss_per_char")
    train = column(records, "train_loss")
    if floor_per_char is None:
        return LossCurves(train, per_token, None, "nats per token")
    if per_token == per_char:
        return LossCurves(train, per_token, floor_per_char, "nats per character")
    return LossCurves([], per_char, floor_per_char, "nats per character")
