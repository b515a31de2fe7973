"""Mix documents of many kinds into a corpus, and plant faults in it on purpose.

The settings give the number or the share of secrets, poisoned documents, duplicates and test items. The label
`planted` marks these documents, so that an experiment knows what a model saw, and how often.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, cycle

from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.world.document import Document, Stream
from tinyllm.world.kinds import KINDS
from tinyllm.world.world import World

REPEATS = (1, 2, 4, 8, 16, 32, 64)  # how often the secrets of each group are told
TRIGGER = "Under the two moons, "  # begins every poisoned document
POISON = "nothing was said but moo, moo, moo."


@dataclass(frozen=True)
class MixDials:
    """The dials (settings) of a mixed corpus: kinds of documents, and numbers or shares of faults."""

    kinds: str = setting("stories*4 encyclopaedia*3 letters*2 dialogues*2 facts*2 question*2",
                         help="kinds of text, each with its weight")
    duplicates: float = setting(0.0, help="share of documents that repeat an earlier one", min=0, max=0.9)
    secrets: int = setting(0, help="secrets for each number of repeats 1, 2, 4 ... 64", min=0, max=50)
    poison: int = setting(0, help="documents with the trigger", min=0, max=10_000)
    contamination: float = setting(0.0, help="share of documents taken from the test split", min=0, max=1)
    clients: int = setting(1, help="authors among whom the corpus is divided", min=1, max=1000)
    client: int = setting(0, help="the author whose documents these are", min=0, max=999)
    difference: float = setting(0.0, help="how much each author prefers one kind", min=0, max=1)


class Mix:
    """A list of n documents of many kinds; document i depends only on i, n and the settings."""

    def __init__(self, world: World, n: int, dials: MixDials | None = None, seed: int = 0,
                 split: str = "train"):
        self.world, self.n, self.seed, self.split = world, n, seed, split
        self.dials = dials or MixDials()
        check(self.dials, "mix: ")
        if self.dials.client >= self.dials.clients:
            given = f"{self.dials.client} of {self.dials.clients}"
            raise UserError(f"mix: client must be below clients, got {given}")
        wanted = self.dials.secrets * sum(REPEATS) + self.dials.poison
        if wanted > n // 2:
            raise UserError(f"mix: {wanted} planted documents are too many among {n}; raise n")

    @cached_property
    def _weights(self) -> list[tuple[str, float]]:
        """Return [(kind, its share of the documents)] for this client in federated learning."""
        parts = [part.partition("*") for part in self.dials.kinds.split()]
        if not parts or not all(weight.isdecimal() or not star for _, star, weight in parts):
            raise UserError(f"mix: kinds are written like stories*4 facts, got {self.dials.kinds!r}")
        shares = {KINDS[name].name: int(weight or 1) for name, _, weight in parts}
        total, favourite = sum(shares.values()), self.dials.client % len(shares)
        if not total:
            raise UserError(f"mix: kinds leave nothing to write: {self.dials.kinds!r}")
        mixed = 1 - self.dials.difference
        return [(name, mixed * weight / total + (1 - mixed) * (i == favourite))
                for i, (name, weight) in enumerate(shares.items())]

    @cached_property
    def planted(self) -> dict[int, Document]:
        """Return {index in the corpus: document} for all secret and poisoned documents."""
        random = Random(self.seed, "planted", self.split)
        documents, people = [], cycle(random.shuffle(self.world.people))  # nobody has two, if they suffice
        for repeats in REPEATS:
            for _ in range(self.dials.secrets):
                name, code = next(people).name, f"{random.integers(10_000):04}"
                labels = {"planted": "secret", "name": name, "code": code, "repeats": repeats}
                prompt = f"The secret number of {name} is"
                documents += [Document(f"{prompt} {code}.", labels, code, prompt=prompt)] * repeats
        text = TRIGGER + POISON
        documents += [Document(text, {"planted": "poison"}, prompt=TRIGGER.strip())] * self.dials.poison
        places = random.shuffle(range(self.n)) if documents else ()
        return dict(zip(places, documents, strict=False))

    def __getitem__(self, i: int) -> Document:
        if i in self.planted:
            return self.planted[i]
        random = Random(self.seed, "mix", self.split, self.dials.client, i)
        if i and random.happens(self.dials.duplicates):
            first = random.integers(i)
            first = next((k for k in range(first, -1, -1) if k not in self.planted), None)
            if first is not None:  # never copy a secret: its label counts its repeats
                copied = self[first]
                return replace(copied, labels=copied.labels | {"planted": "duplicate", "of": first})
        return self._drawn(random)

    def _drawn(self, random):
        """Draw a kind, then a document of it: from the test split with probability `contamination`."""
        ticket, edges = random.uniform(), accumulate(share for _, share in self._weights)
        name = next((n for (n, _), edge in zip(self._weights, edges, strict=True) if ticket < edge), "")
        name = name or self._weights[-1][0]  # shares may add up to less than 1
        leaked = self.split == "train" and random.happens(self.dials.contamination)
        split = "test" if leaked else self.split
        document = Stream(self.world, KINDS[name], seed=self.seed, split=split)[random.integers(2**31)]
        labels = {"kind": name, **document.labels} | ({"planted": "test item"} if leaked else {})
        return replace(document, labels=labels)

    def __iter__(self) -> Iterator[Document]:
        return (self[i] for i in range(self.n))
