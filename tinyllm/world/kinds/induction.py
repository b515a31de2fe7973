"""Write roll calls that repeat, and compute the best possible accuracy at each word."""

from tinyllm.config import setting
from tinyllm.world import names
from tinyllm.world.forms import ROW
from tinyllm.world.question import asks, dials, take

ROLL = names.GIRLS[:32] + names.BOYS[:32]


def best_curve(length: int = 64, shortest: int = 8, longest: int = 31) -> list[float]:
    """Return the best possible accuracy at each word of a roll call that repeats (`induction`).

    The period is uniform between `shortest` and `longest`. If no word was repeated before word i, then from
    i = `shortest` on, word i is the first word again with probability 1 / (longest - i + 1), else one of the
    64 - i words that have not occurred. After the first repetition, every word is certain.
    """
    shortest, curve = min(shortest, longest), []
    for i in range(length):
        open_periods = longest - max(i, shortest) + 1  # how many periods the words so far allow
        again = 1 / open_periods if shortest <= i <= longest else 0.0
        unsure = max(0, open_periods) / (longest - shortest + 1)
        curve.append(1 - unsure + unsure * max(again, (1 - again) / max(1, len(ROLL) - i)))
    return curve


def _draw(world, random, dials):
    shortest = min(dials.shortest, dials.longest)
    roll = take(random, ROLL, shortest + random.integers(dials.longest - shortest + 1))
    return {"row": (roll * (dials.length // len(roll) + 1))[: dials.length - 1]}


def _labels(row):
    period = len({*row})
    return {"period": period, "scored": list(range(period + 1, len(row) + 1))}


def _shift(row):
    """Try every shift until the row equals its shifted copy."""
    return row[-next(p for p in range(1, len(row)) if row[p:] == row[:-p])]


@asks("{row}", slots={"row": ROW}, group="in-context", marker="", options=len(ROLL),
      draw=_draw, second=_shift, labels=_labels,
      splits={"text": lambda document: document.text, "period": lambda document: document.labels["period"]},
      Dials=dials(length=setting(64, help="how many names are called", min=64, max=256),
                  shortest=setting(8, help="least number of names before they repeat", min=1, max=32),
                  longest=setting(31, help="greatest number of names before they repeat", min=1, max=32)),
      )
def induction(row: list[str]) -> str:
    """Continue a roll call that is repeated again and again."""
    roll = row[: len({*row})]
    if not {*row} <= {*ROLL} or len(roll) > 32 or len(row) < 63:
        raise ValueError("no roll call")
    if row != (roll * len(row))[: len(row)]:
        raise ValueError("it is not repeated")
    return row[-len(roll)]
