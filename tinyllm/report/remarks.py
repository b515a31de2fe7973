"""Judge a training by its loss curves: did it diverge, overfit, stand still or still improve?"""

from tinyllm.report.curves import LossCurves

FEWEST = 5  # evaluations; the curves of a shorter run say nothing
HIGHER = 1.25  # a training loss so many times its lowest has diverged
TREMBLE = 0.02  # a loss near 0, of a text learnt by heart, may vary by this part of the first loss
RISEN = 1.01  # a validation loss so many times its lowest has risen; the text is always the same
SHORT = 500  # steps; a shorter training may stand still on its way
SAME, FALLING = 0.995, 0.98  # how far the validation loss falls: in the last third, in the last fifth


def remark(curves: LossCurves) -> str:
    """Return advice about a finished training, in a few sentences; "" if there is nothing to say."""
    val = [(step, loss) for step, loss in curves.val if step > 0]
    train = between(curves.train, [step for step, _ in val])
    if len(val) < FEWEST or len(train) < FEWEST:
        return ""
    (best_step, best), (_, last) = min(val, key=lambda point: point[1]), val[-1]
    (low_step, low), (_, end) = min(train, key=lambda point: point[1]), train[-1]
    if end > max(HIGHER * low, low + TREMBLE * train[0][1]):
        return (f"The training loss was {low:.3f} around step {low_step:,} and rose to {end:.3f}: training "
                "became unstable. Try a smaller --lr.")
    if last > RISEN * best and end < best:
        return (f"The validation loss was lowest at step {best_step:,} ({best:.3f}) and rose to {last:.3f}, "
                f"while the training loss fell to {end:.3f}: the model learns its text by heart. This is "
                "called overfitting; more text helps, or fewer steps. The best checkpoint is kept.")
    if last > SAME * lowest(val, 2 / 3):
        stood = f"The validation loss has been near {last:.3f} for the last third"
        if val[-1][0] < SHORT:  # at the frequencies of letters, for one, and with a rate that has decayed
            return f"{stood}, but training was short: with more --steps it often falls again."
        return f"{stood}: more steps will hardly help. More text, a larger model or another --lr may."
    if last < FALLING * lowest(val, 4 / 5):
        return "The validation loss was still falling at the end: more steps may help."
    return ""


def between(train: list, steps: list[int]) -> list[tuple[int, float]]:
    """Average the training loss between evaluations; return [(step, mean since the evaluation before)]."""
    parts = [(end, [loss for step, loss in train if begin < step <= end])
             for begin, end in zip([0, *steps], steps, strict=False)]
    return [(end, sum(losses) / len(losses)) for end, losses in parts if losses]


def lowest(val: list, part: float) -> float:
    """Return the lowest loss in the first `part` (0 to 1) of a run, or the first loss if none is so early."""
    end = part * val[-1][0]
    return min([loss for step, loss in val if step <= end] or [val[0][1]])
