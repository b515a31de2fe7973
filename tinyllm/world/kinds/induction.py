"""Write roll calls that repeat."""

from tinyllm.config import setting
from tinyllm.world import names
from tinyllm.world.forms import ROW
from tinyllm.world.question import asks, dials, take

ROLL = names.GIRLS[:32] + names.BOYS[:32]
LENGTH = 63  # names before the one that is asked for


def _draw(world, random, dials):
    roll = take(random, ROLL, 8 + random.integers(dials.longest - 7))
    return {"row": (roll * 8)[:LENGTH]}


def _labels(row):
    period = len({*row})
    return {"period": period, "scored": list(range(period + 1, len(row) + 1))}


def _shift(row):
    """Try every shift until the row equals its shifted copy."""
    return row[-next(p for p in range(1, len(row)) if row[p:] == row[:-p])]


@asks("{row}", slots={"row": ROW}, group="in-context", marker="", options=len(ROLL),
      draw=_draw, second=_shift, labels=_labels,
      splits={"text": lambda document: document.text, "period": lambda document: document.labels["period"]},
      Dials=dials(longest=setting(31, help="the most names before they repeat", min=8, max=31)))
def induction(row: list[str]) -> str:
    """Continue a roll call that is repeated again and again."""
    roll = row[: len({*row})]
    if not {*row} <= {*ROLL} or len(roll) > 31 or len(row) != LENGTH:
        raise ValueError("no roll call")
    if row != (roll * len(row))[: len(row)]:
        raise ValueError("it is not repeated")
    return row[-len(roll)]
