"""Serial tasks: each step needs the one before, so that a model of few layers cannot skip them."""

import re
from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

CUPS = "ABCDE"
PAIRS = [a + b for a in CUPS for b in CUPS if a < b]
SWAPS = {  # how many pairs of cups are swapped at once -> all ways to do it
    1: PAIRS,
    2: [f"{p}+{q}" for p in PAIRS for q in PAIRS if p < q and not set(p) & set(q)],
}
PAUSE = "-"
SLOTS = 12
MODULUS = 11
NUMBERS = [str(number) for number in range(MODULUS)]


class ShellGame(Kind):
    """Follow a pea under five cups while pairs of them are swapped."""

    group = "reasoning"
    marker = "= "

    @dataclass(frozen=True)
    class Dials:
        moves: int = setting(8, help="in how many of the 12 slots cups are swapped", min=0, max=SLOTS)
        hands: int = setting(2, help="how many pairs of cups are swapped at once", choices=tuple(SWAPS))
        steps: bool = setting(False, help="say where the pea is after every slot")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        swaps = [random.choice(SWAPS[dials.hands]) for _ in range(dials.moves)]
        slots = random.shuffle(swaps + [PAUSE] * (SLOTS - dials.moves))
        return self._document(random.choice(CUPS), slots, dials.steps)

    def _document(self, start, slots, steps):
        at, path = start, []
        for slot in slots:
            pair = next((pair for pair in slot.split("+") if at in pair), at)
            at = pair.replace(at, "") or at
            path.append(at)
        labels = {"start": start, "slots": slots, "moves": SLOTS - slots.count(PAUSE)}
        prompt = f"pea under {start} : {' '.join(slots)} ?"
        return self.asked(prompt, at, labels, " ".join(path) + " " if steps else "")

    def read(self, world: World, text: str) -> Document | None:
        words = text.split(" ")
        start, slots = "".join(words[2:3]), words[4 : 4 + SLOTS]
        swaps = set(slots) - {PAUSE}
        if start not in list(CUPS) or not (swaps <= set(SWAPS[1]) or swaps <= set(SWAPS[2])):
            return None
        document = self._document(start, slots, self.marker in text)
        return document if document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Find the cup from which all swaps, undone from the last one on, lead back to the start."""
        words = document.prompt.split()
        pairs = [(*pair,) for slot in words[4 : 4 + SLOTS] if slot != PAUSE for pair in slot.split("+")]
        where = dict(zip(CUPS, CUPS, strict=True))  # cup in the end -> cup before the swaps undone so far
        for a, b in reversed(pairs):
            where = {end: {a: b, b: a}.get(now, now) for end, now in where.items()}
        return next(end for end, first in where.items() if first == words[2])

    def chance(self, dials: Dials) -> float:
        return 1 / len(CUPS)


_INNER = re.compile(r"\( ([0-9]+) ([-+*]) ([0-9]+) \)|^([0-9]+) ([-+*]) ([0-9]+)$")


class Modular(Kind):
    """Work out nested brackets modulo 11, where every answer is equally likely."""

    group = "reasoning"
    marker = "= "

    @dataclass(frozen=True)
    class Dials:
        depth: int = setting(4, help="how many operations the expression has", min=1, max=6)
        steps: bool = setting(False, help="write the expression again after each operation")

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Begin with the answer, and put an expression of equal value for a number, `depth` times."""
        words = [str(random.integers(MODULUS))]
        for done in range(dials.depth):
            at = random.choice([i for i, word in enumerate(words) if word.isdecimal()])
            value, sign, a = int(words[at]), random.choice("+-*"), random.integers(MODULUS)
            if sign == "*":
                a = a or 1
                b = value * pow(a, -1, MODULUS)
            else:
                b = value - a if sign == "+" else a - value
            new = [str(a), sign, str(b % MODULUS)]
            words[at : at + 1] = ["(", *new, ")"] if done else new
        return self._document(" ".join(words), dials.steps)

    def _document(self, expression, steps):
        rows = [expression]
        while (row := _INNER.sub(_value, rows[-1], count=1)) != rows[-1]:
            rows.append(row)
        work = " = ".join(rows[1:-1]) + " " if steps and len(rows) > 2 else ""
        labels = {"expression": expression, "depth": len(rows) - 1}
        return self.asked(f"mod {MODULUS} : {expression} =", rows[-1], labels, work)

    def read(self, world: World, text: str) -> Document | None:
        head, _, rest = text.partition(" = ")
        start, _, expression = head.partition(" : ")
        words = expression.split(" ")
        depth = sum(word in ("+", "-", "*") for word in words)
        known = all(word in ("(", ")", "+", "-", "*") or word in NUMBERS for word in words)
        if start != f"mod {MODULUS}" or not known or not 1 <= depth <= 6 or words.count("(") != depth - 1:
            return None
        document = self._document(expression, self.marker in rest)
        return document if document.text == text and document.truth.isdecimal() else None

    def solve(self, world: World, document: Document) -> str:
        """Calculate with whole numbers on a stack, the remainder at the very end."""
        values: list[int] = []
        signs: list[str] = []
        for word in [*document.prompt.split()[3:-1], ")"]:
            if word in ("+", "-", "*"):
                signs.append(word)
            elif word == ")":
                b, a = values.pop(), values.pop()
                values.append({"+": a + b, "-": a - b, "*": a * b}[signs.pop()])
            elif word != "(":
                values.append(int(word))
        return str(values[0] % MODULUS)

    def chance(self, dials: Dials) -> float:
        return 1 / MODULUS


def _value(found):
    """Return the value of a bracket, or of the whole, modulo 11."""
    a, sign, b = (part for part in found.groups() if part is not None)
    return str({"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] % MODULUS)
