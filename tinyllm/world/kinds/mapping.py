"""Random mappings, which can only be learnt from the examples (shots) in the text itself.

Words are separated by blanks, and each is one token. labels["scored"] lists the positions of the words that
can be predicted from earlier ones; only these should count in a loss.
"""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world import names
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

LETTERS = list("abcdefghijklmnop")


def best_curve(shots: int = 24, letters: int = 8) -> list[float]:
    """Return the best possible accuracy in a `mapping` at examples (shots) 0, 1, ... and at the question.

    A letter that was shown is certain, any other is a guess among the labels. After k shots a letter was not
    shown with probability (1 - 1/letters)^k. The letter of the question was always shown.
    """
    guess = 1 / len(names.COLOURS)
    return [1 - (1 - 1 / letters) ** k * (1 - guess) for k in range(shots)] + [1.0]


class Mapping(Kind):
    """Find out from examples which colour belongs to which letter; every text has its own colours."""

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
