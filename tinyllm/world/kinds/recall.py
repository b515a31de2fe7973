"""Associative recall: pairs, then calls for one half of a pair.

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

KEYS = [name for pair in zip(names.GIRLS[:12], names.BOYS[:12], strict=True) for name in pair]
VALUES = [*names.THINGS, *names.ANIMALS]


class Recall(Kind):
    """Remember who has which thing, and say it when the name is called (multi-query associative recall).

    Some texts have few pairs. All pairs come before the first call, and each name is equally likely to be
    called. With calls between the pairs, the most frequent thing would be a good guess, and small models
    learn nothing else. With more names a model learns the task later, and then suddenly.
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
        keys, values = take(random, KEYS[:names], n), take(random, VALUES[:names], n)
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
        """Return the word after the first occurrence of the name."""
        words = document.prompt.split()
        return words[words.index(words[-1]) + 1]

    def chance(self, dials: Dials) -> float:
        return 1 / max(dials.pairs, dials.names)
