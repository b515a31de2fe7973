"""What can only be known from the text itself: random mappings, associative recall, repeated strings.

Words are separated by blanks, and each is one token. labels["scored"] lists the positions of the words that
can be predicted from those before; the loss belongs there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

LETTERS = list("abcdefghijklmnop")
KEYS = [name for pair in zip(names.GIRLS[:12], names.BOYS[:12], strict=True) for name in pair]
VALUES = [*names.THINGS, *names.ANIMALS]
ROLL = names.GIRLS[:32] + names.BOYS[:32]


def some(random: Random, items: Sequence[str], n: int) -> list[str]:
    """Draw n different items."""
    left = list(items)
    return [left.pop(random.integers(len(left))) for _ in range(n)]


def mapping_curve(shots: int = 24, letters: int = 8) -> list[float]:
    """Return the accuracy of the best possible answers to a `mapping` at shots 0, 1, ... and the question.

    A letter that was shown is certain, any other is a guess among the labels. After k shots a letter was not
    shown with probability (1 - 1/letters)^k. The letter of the question was always shown.
    """
    guess = 1 / len(names.COLOURS)
    return [1 - (1 - 1 / letters) ** k * (1 - guess) for k in range(shots)] + [1.0]


def induction_curve(length: int = 64, shortest: int = 8, longest: int = 31) -> list[float]:
    """Return the accuracy of the best possible guess of each word of an `induction`.

    Word i is the first one again if the period p is i. Given that nothing was repeated so far, this has
    probability h = 1 / (longest - i + 1); else the word is one of the 64 - i that were not heard yet. Once
    something was repeated, all is certain.
    """
    shortest, curve = min(shortest, longest), []
    for i in range(length):
        open_periods = longest - max(i, shortest) + 1  # those that the words so far allow
        again = 1 / open_periods if shortest <= i <= longest else 0.0
        unsure = max(0, open_periods) / (longest - shortest + 1)
        curve.append(1 - unsure + unsure * max(again, (1 - again) / max(1, len(ROLL) - i)))
    return curve


class Mapping(Kind):
    """Find out from examples which colour belongs to which letter; every row has its own colours."""

    group = "in-context"
    splits = {"map": lambda document: sorted(document.labels["map"].items())}

    @dataclass(frozen=True)
    class Dials:
        shots: int = setting(24, help="how many examples come before the question", min=1, max=48)
        letters: int = setting(8, help="how many letters there are", min=1, max=len(LETTERS))

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        colours = {letter: random.choice(names.COLOURS) for letter in LETTERS[: dials.letters]}
        shown = [random.choice(LETTERS[: dials.letters]) for _ in range(dials.shots)]
        asked = random.choice([letter for letter in LETTERS if letter in shown])
        return self._document([(letter, colours[letter]) for letter in [*shown, asked]])

    def _document(self, pairs):
        shown: dict[str, str] = {}
        bayes = []
        for letter, colour in pairs:
            bayes.append(1.0 if letter in shown else 1 / len(names.COLOURS))
            shown.setdefault(letter, colour)
        *words, truth = [word for pair in pairs for word in pair]
        labels = {"map": shown, "bayes": bayes, "scored": list(range(1, 2 * len(pairs), 2))}
        return self.asked(" ".join(words), truth, labels)

    def read(self, world: World, text: str) -> Document | None:
        words = text.split(" ")
        letters, colours = words[::2], words[1::2]
        if len(letters) != len(colours) or letters[-1] not in letters[:-1] or set(letters) - set(LETTERS):
            return None
        pairs = list(zip(letters, colours, strict=True))
        known = dict(pairs)
        good = all(known[letter] == colour and colour in names.COLOURS for letter, colour in pairs)
        return self._document(pairs) if good else None

    def solve(self, world: World, document: Document) -> str:
        """Look for the last time that the letter was shown."""
        *words, letter = document.prompt.split()
        return words[len(words) - 1 - words[::-1].index(letter) + 1]

    def chance(self, dials: Dials) -> float:
        return 1 / len(names.COLOURS)


class Recall(Kind):
    """Remember who has which thing, and say it when the name is called (multi-query associative recall).

    Rows with few pairs are among those with many, and all pairs come before the first call, where each name
    is as likely as any other. Calls between the pairs would make the thing said most often a good guess, and
    small models stop at that. The more names there are, the later a model learns it, and all at once.
    """

    group = "in-context"
    splits = {"pairs": lambda document: sorted(document.labels["pairs"].items())}

    @dataclass(frozen=True)
    class Dials:
        pairs: int = setting(8, help="how many people with a thing there are at most", min=2, max=len(KEYS))
        names: int = setting(
            8, help="of how many names and things they are; at least pairs", min=2, max=len(KEYS)
        )
        queries: int = setting(16, help="how often somebody is called", min=1, max=48)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        n = 2 + random.integers(dials.pairs - 1)
        names = max(dials.pairs, dials.names)
        keys, values = some(random, KEYS[:names], n), some(random, VALUES[:names], n)
        called = [random.choice(keys) for _ in range(dials.queries)]
        return self._document(dict(zip(keys, values, strict=True)), called)

    def _document(self, pairs, called):
        words = [word for key in (*pairs, *called) for word in (key, pairs[key])]
        scored = list(range(2 * len(pairs) + 1, len(words), 2))
        return self.asked(" ".join(words[:-1]), words[-1], {"pairs": pairs, "scored": scored})

    def read(self, world: World, text: str) -> Document | None:
        words = text.split(" ")
        pairs = dict(zip(words[::2], words[1::2], strict=False))
        if not set(pairs) <= set(KEYS) or not set(pairs.values()) <= set(VALUES):
            return None
        if not 2 <= len(pairs) == len(set(pairs.values())) or len(words) <= 2 * len(pairs):
            return None
        document = self._document(pairs, words[2 * len(pairs) :: 2])
        return document if document.text == text else None

    def solve(self, world: World, document: Document) -> str:
        """Take the word after the first time that the name is said."""
        words = document.prompt.split()
        return words[words.index(words[-1]) + 1]

    def chance(self, dials: Dials) -> float:
        return 1 / max(dials.pairs, dials.names)


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
        return self._document(some(random, ROLL, period), dials.length)

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
        """Try every shift until the text fits on itself."""
        words = document.prompt.split()
        shift = next(p for p in range(1, len(words)) if words[p:] == words[:-p])
        return words[-shift]

    def chance(self, dials: Dials) -> float:
        return 1 / len(ROLL)
