"""Define `Kind`, a kind of text about the world, with its generator, reader, solver, score and splits.

Most kinds are functions decorated with `task` (see task.py). A kind whose documents are not questions with
one answer is a class in a file of world/kinds/:

    class Parity(Kind):
        \"\"\"Say if a row of bits holds an even or an odd number of ones.\"\"\"

        class Dials:
            length: int = setting(8, help="how many bits", min=1, max=64)

        def write(self, world, random, dials):
            bits = [random.integers(2) for _ in range(dials.length)]
            return self.asked(f"{bits} is", "odd" if sum(bits) % 2 else "even", {"bits": bits})

        def read(self, world, text): ...     # the same Document from its text, or None
        def solve(self, world, document): ...  # the truth, found in another way than `write` found it

`KINDS` finds it by its file. Every kind promises, and tests/unit/test_world_kinds.py checks: the same key
gives the same document; a document reads back as itself; two ways to the truth agree; its answer scores 1.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar

from tinyllm.config import check
from tinyllm.errors import UserError
from tinyllm.rng import Random

HELD_OUT = 0.2  # the share of keys that only the test split has
ATTEMPTS = 10_000  # after so many a search is given up: a split is empty, a world too small


@dataclass(frozen=True)
class Document:
    """A text about the world, with everything that is known about it.

    labels: {name: fact about the text}, in values that JSON can hold.
    truth: the right answer to what is asked, "" where nothing is asked.
    logprob: the exact log-probability in nats, where the kind of text knows it.
    prompt: the beginning of the text after which a model answers; "" for prose.
    """

    text: str
    labels: dict
    truth: str = ""
    logprob: float | None = None
    prompt: str = ""

    @property
    def answer(self) -> str:
        """Return the text after the prompt, worked steps included."""
        return self.text[len(self.prompt) :]


@dataclass(frozen=True)
class NoDials:
    """The dials (settings) of a kind of text that has none."""


class Kind:
    """One kind of text: subclasses define `write`, `read` and `solve`.

    The first line of a subclass's docstring describes the kind to users.

    Dials: a class inside the subclass, with the kind's settings, called dials.
    name: the class's name in other letters: ShellGame becomes shell_game.
    group: the heading under which lists show the kind.
    marker: the text before the final answer, such as "answer: " after worked steps, or "".
    splits: {name: function of a document}, ways to choose the documents that are for testing only; the first
        is the default. A function returns True for a test document and False for others, or any other value:
        then a random fifth of all values is for testing.
    options: how many answers are equally likely, or the name of the dial that has this number.
    """

    name: ClassVar[str]  # by which `KINDS` and `world:NAME` know this kind
    Dials: ClassVar[type] = NoDials
    group: ClassVar[str] = "suite"
    marker: ClassVar[str] = ""
    options: int | str = 0
    splits: ClassVar[dict[str, Callable[[Document], Any]]] = {
        "text": lambda document: document.prompt or document.text
    }

    def __init_subclass__(cls):
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if not is_dataclass(cls.Dials):
            cls.Dials = dataclass(frozen=True)(cls.Dials)

    def write(self, world: Any, random: Random, dials: Any) -> Document:
        """Generate one document; all random numbers come from `random`."""
        raise NotImplementedError

    def read(self, world: Any, text: str) -> Document | None:
        """Read a text back -> the Document as `write` made it, or None if it is not of this kind."""
        raise NotImplementedError

    def solve(self, world: Any, document: Document) -> str:
        """Derive the truth of a document from its text and the world, in another way than `write` does."""
        raise NotImplementedError

    def chance(self, dials: Any) -> float:
        """Return the mean score of the best constant answer, or of a guess among the options shown."""
        options = getattr(dials, self.options) if isinstance(self.options, str) else self.options
        return 1 / options if options else 0.0

    def __call__(self, world: Any, random: Random, dials: Any = None) -> Document:
        return self.write(world, random, self.dials() if dials is None else dials)

    def dials(self, **given: Any) -> Any:
        """Return this kind's dials (settings), changed by `given`. Raises UserError for a wrong one."""
        known = [field.name for field in fields(self.Dials)]
        for name in given:
            if name not in known:
                raise UserError(f"{self.name} has no dial {name}; it has {', '.join(known) or 'none'}")
        dials = self.Dials(**given)
        check(dials, f"{self.name}: ")
        return dials

    def final(self, answer: str) -> str:
        """Return the final answer in a text that a model wrote: the part after the marker, no full stop."""
        last = answer.rpartition(self.marker)[2] if self.marker else answer
        return last.strip().removesuffix(".")

    def score_answer(self, answer: str | None, entry: Mapping[str, Any]) -> float:
        """Score an answer: 1.0 if it equals the answer of `entry` (see the method `entry`), else 0.0."""
        return float(answer is not None and self.final(answer) == entry["answer"].removesuffix("."))

    def entry(self, document: Document) -> dict:
        """Return a document in the form of Reasoning Gym's entries: question, answer and metadata."""
        return {"question": document.prompt, "answer": document.truth,
                "metadata": {"source_dataset": self.name, **document.labels}}  # fmt: skip

    def asked(self, prompt: str, truth: str, labels: dict, steps: str = "") -> Document:
        """Return a question with its answer: the prompt, then steps and the marker if any, then the truth."""
        return Document(
            f"{prompt} {steps}{self.marker if steps else ''}{truth}", labels, truth, prompt=prompt
        )

    def held_out(self, document: Document, by: str | None = None) -> bool:
        """Return True if a document is for testing only. by: a name in `splits`, by default the first."""
        name = by or next(iter(self.splits))
        if name not in self.splits:
            raise UserError(f"{self.name} cannot be split by {name}; it can by {', '.join(self.splits)}")
        key = self.splits[name](document)
        if isinstance(key, bool):
            return key
        digest = hashlib.sha256(f"{self.name} {name} {key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT * 2**32


def attempts() -> Iterator[int]:
    """Count up to ATTEMPTS, then raise UserError: for a search that a small world may never end."""
    yield from range(ATTEMPTS)
    raise UserError("this world has no such text with these dials; take more people, or a later year")


class Stream:
    """An endless list of documents of one kind: document i depends on the seed, the split and i alone."""

    def __init__(self, world: Any, kind: Kind, dials: Any = None, seed: int = 0, split: str = "train",
                 by: str | None = None):  # fmt: skip
        if split not in ("train", "test", "all"):
            raise UserError(f"a split is train, test or all, got {split!r}")
        self.world, self.kind, self.seed, self.split, self.by = world, kind, seed, split, by
        self.dials = kind.dials() if dials is None else dials

    def __getitem__(self, i: int) -> Document:
        random = Random(self.seed, self.kind.name, self.split, i)
        for _ in range(ATTEMPTS):
            document = self.kind(self.world, random, self.dials)
            if self.split == "all" or self.kind.held_out(document, self.by) == (self.split == "test"):
                return document
        raise UserError(
            f"{self.kind.name} with {asdict(self.dials)} has no document for the split {self.split}"
        )

    def __iter__(self) -> Iterator[Document]:
        i = 0
        while True:
            yield self[i]
            i += 1
