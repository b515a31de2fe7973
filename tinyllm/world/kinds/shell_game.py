"""Write a serial task: each step needs the result of the step before, so a model with few layers fails."""

from tinyllm.world.forms import Shape
from tinyllm.world.question import asks, dials

CUPS = "ABCDE"
PAIRS = [a + b for a in CUPS for b in CUPS if a < b]
SWAPS = {  # number of pairs that are swapped at once -> all choices of the pairs
    1: PAIRS,
    2: [f"{p}+{q}" for p in PAIRS for q in PAIRS if p < q and not set(p) & set(q)],
}
PAUSE = "-"
SLOTS = 12


def _draw(random, hands, moves):
    swaps = [random.choice(SWAPS[hands]) for _ in range(moves)]
    slots = random.shuffle(swaps + [PAUSE] * (SLOTS - moves))
    return {"start": random.choice(CUPS), "slots": slots}


def _path(start, slots):
    """Return the cup with the pea after each slot (a swap or a pause)."""
    at, path = start, []
    for slot in slots:
        pair = next((pair for pair in slot.split("+") if at in pair), at)
        at = pair.replace(at, "") or at
        path.append(at)
    return path


def _undo(start, slots):
    """Solve independently: undo the swaps from the last to the first, for all cups at once."""
    pairs = [(*pair,) for slot in slots if slot != PAUSE for pair in slot.split("+")]
    where = dict(zip(CUPS, CUPS, strict=True))  # cup in the end -> cup before the swaps undone so far
    for a, b in reversed(pairs):
        where = {end: {a: b, b: a}.get(now, now) for end, now in where.items()}
    return next(end for end, first in where.items() if first == start)


@asks("pea under {start} : {slots} ?", group="reasoning", marker="= ", options=len(CUPS),
      slots={"start": CUPS, "slots": Shape(rf"\S+(?: \S+){{{SLOTS - 1}}}", " ".join, str.split)},
      draw=_draw, second=_undo, working=lambda start, slots: " ".join(_path(start, slots)),
      labels=lambda start, slots: {"start": start, "slots": slots, "moves": SLOTS - slots.count(PAUSE)},
      splits={"text": lambda d: d.prompt},
      Dials=dials(moves=(8, "in how many of the 12 slots cups are swapped", 0, SLOTS),
                  hands=(2, "how many pairs of cups are swapped at once", tuple(SWAPS)),
                  steps=(False, "say where the pea is after every slot")))
def shell_game(start: str, slots: list[str]) -> str:
    """Say under which of five cups a pea ends after swaps of pairs of cups."""
    return _path(start, slots)[-1]
