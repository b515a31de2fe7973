"""Write texts for associative recall: pairs of a name and a thing, then names whose thing must be recalled.

All pairs come before the first call, and each name is equally likely to be called. If calls came between the
pairs, the most frequent thing would be a good guess, and small models would learn nothing else. With more
names a model learns the task later, and then suddenly. Some texts have few pairs.
"""

from tinyllm.config import setting
from tinyllm.world import names
from tinyllm.world.forms import ROW
from tinyllm.world.question import asks, dials, take

KEYS = [name for pair in zip(names.GIRLS[:12], names.BOYS[:12], strict=True) for name in pair]
VALUES = [*names.THINGS, *names.ANIMALS]


def _draw(world, random, dials):
    n, most = 2 + random.integers(dials.pairs - 1), max(dials.pairs, dials.names)
    keys, values = take(random, KEYS[:most], n), take(random, VALUES[:most], n)
    pairs = dict(zip(keys, values, strict=True))
    called = [random.choice(keys) for _ in range(dials.queries)]
    return {"row": [word for key in (*keys, *called) for word in (key, pairs[key])][:-1]}


def _labels(row):
    pairs = dict(zip(row[::2], row[1::2], strict=False))
    return {"pairs": pairs, "scored": list(range(2 * len(pairs) + 1, len(row) + 1, 2))}


@asks("{row}", slots={"row": ROW}, group="in-context", marker="", draw=_draw, labels=_labels,
      second=lambda row: row[row.index(row[-1]) + 1],
      chance=lambda dials: 1 / max(dials.pairs, dials.names),
      splits={"pairs": lambda document: sorted(document.labels["pairs"].items())},
      Dials=dials(
          pairs=setting(8, help="how many people with a thing there are at most", min=2, max=len(KEYS)),
          names=setting(8, help="of how many names and things they are; at least pairs", min=2,
                        max=len(KEYS)),
          queries=setting(16, help="how often somebody is called", min=1, max=48)),
      )
def recall(row: list[str]) -> str:
    """Remember who has which thing, and say the thing when the person is called (associative recall)."""
    pairs = dict(zip(row[::2], row[1::2], strict=False))
    called = row[2 * len(pairs) :: 2]
    again = [word for key in (*pairs, *called) for word in (key, pairs.get(key))][:-1]
    if row != again or len({*pairs.values()}) < max(2, len(pairs)):
        raise ValueError("not all pairs, then all calls")
    if not {*pairs} <= {*KEYS} or not {*pairs.values()} <= {*VALUES}:
        raise ValueError("these are other words")
    return pairs[row[-1]]
