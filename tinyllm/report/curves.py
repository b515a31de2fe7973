"""Read the loss curves of a training from its log, and judge them."""

from dataclasses import dataclass

FEWEST = 5  # evaluations; the curves of a shorter run say nothing
HIGHER = 1.25  # a training loss so many times its lowest has diverged
TREMBLE = 0.02  # a loss near 0, of a text learnt by heart, may vary by this part of the first loss
RISEN = 1.01  # a validation loss so many times its lowest has risen; the text is always the same
SHORT = 500  # steps; a shorter training may stand still on its way
SAME, FALLING = 0.995, 0.98  # how far the validation loss falls: in the last third, in the last fifth


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


def remark(curves: LossCurves) -> str:
    """Return advice about a finished training, in a few sentences; "" if there is nothing to say."""
    val = [(step, loss) for step, loss in curves.val if step > 0]
    train = between(curves.train, [step for step, _ in val])
    if len(val) < FEWEST or len(train) < FEWEST:
        return ""
    (best_step, best), (last_step, last) = min(val, key=lambda point: point[1]), val[-1]
    (low_step, low), (_, end) = min(train, key=lambda point: point[1]), train[-1]
    earlier, later = (min([loss for step, loss in val if step <= part * last_step] or [val[0][1]])
                      for part in (2 / 3, 4 / 5))
    if end > max(HIGHER * low, low + TREMBLE * train[0][1]):
        return (f"The training loss was {low:.3f} around step {low_step:,} and rose to {end:.3f}: training "
                "became unstable. Try a smaller --lr.")
    if last > RISEN * best and end < best:
        return (f"The validation loss was lowest at step {best_step:,} ({best:.3f}) and rose to {last:.3f}, "
                f"while the training loss fell to {end:.3f}: the model learns its text by heart. This is "
                "called overfitting; more text helps, or fewer steps. The best checkpoint is kept.")
    if last > SAME * earlier:
        stood = f"The validation loss has been near {last:.3f} for the last third"
        if last_step < SHORT:  # at the frequencies of letters, for one, and with a rate that has decayed
            return f"{stood}, but training was short: with more --steps it often falls again."
        return f"{stood}: more steps will hardly help. More text, a larger model or another --lr may."
    if last < FALLING * later:
        return "The validation loss was still falling at the end: more steps may help."
    return ""


def between(train: list, steps: list[int]) -> list[tuple[int, float]]:
    """Average the training loss between evaluations; return [(step, mean since the evaluation before)]."""
    parts = [(end, [loss for step, loss in train if begin < step <= end])
             for begin, end in zip([0, *steps], steps, strict=False)]
    return [(end, sum(losses) / len(losses)) for end, losses in parts if losses]
