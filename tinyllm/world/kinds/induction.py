"""A roll call that is repeated, with the best possible accuracy at each word.

Words are separated by blanks, and each is one token. labels["scored"] lists the positions of the words that
can be predicted from earlier ones; only these should count in a loss.
"""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind
from tinyllm.world.task import take
from tinyllm.world.world import World

ROLL = names.GIRLS[:32] + names.BOYS[:32]


def best_curve(length: int = 64, shortest: int = 8, longest: int = 31) -> list[float]:
    """Return the accuracy of the best possible guess of each word of an `induction`.

    Word i is the first word again if the period is i. If nothing was repeated so far, the probability of this
    is 1 / (longest - i + 1); else word i is one of the 64 - i words that have not occurred. After the first
    repetition, every word is certain.
    """
    shortest, curve = min(shortest, longest), []
    for i in range(length):
        open_periods = longest - max(i, shortest) + 1  # those that the words so far allow
        again = 1 / open_periods if shortest <= i <= longest else 0.0
        unsure = max(0, open_periods) / (longest - shortest + 1)
        curve.append(1 - unsure + unsure * max(again, (1 - again) / max(1, len(ROLL) - i)))
    return curve


class Induction(Kind):
    """Go on with a roll call that is repeated again and again."""

    group = "in-context"
    splits = {"text": lambda document: document.text, "period": lambda document: document.labels["period"]}

    @dataclass(frozen=True)
    class Dials:
        length: int = setting(64, help="how many names are called", min=64, max=256)
        shortest: int = setting(8, help="least number of names before they repeat", min=1, max=32)
        longest: int = setting(31, help="greatest number of names before they repeat", min=1, max=32)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        shortest = min(dials.shortest, dials.longest)
        period = shortest + random.integers(dials.longest - shortest + 1)
        return self._document(take(random, ROLL, period), dials.length)

    def _document(self, roll, length):
        words = (roll * (length // len(roll) + 1))[:length]
        labels = {"period": len(roll), "scored": list(range(len(roll) + 1, length))}
        return self.asked(" ".join(words[:-1]), words[-1], labels)

    def read(self, world: World, text: str) -> Document | None:
        words = text.split(" ")
        period = words.index(words[0], 1) if words[0] in words[1:] else 0
        roll = words[:period]
        if not 1 <= period <= 32 or len(words) < 64 or len(set(roll)) < period or not set(roll) <= set(ROLL):
            return None
        document = self._document(roll, len(words))
        return document if document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Try every shift until the text equals its shifted copy."""
        words = document.prompt.split()
        shift = next(p for p in range(1, len(words)) if words[p:] == words[:-p])
        return words[-shift]

    def chance(self, dials: Dials) -> float:
        return 1 / len(ROLL)
