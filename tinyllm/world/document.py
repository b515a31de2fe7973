"""Define kinds of text about the world: how to generate, solve, score and split documents.

Most kinds are questions with one answer: functions under the decorator `asks` (see question.py). Any other
kind is a subclass of `Kind` in a file of world/kinds/, with the methods `write` and `solve`.

`KINDS` finds both in these files. tests/unit/test_world_kinds.py checks every kind: the same seed gives the
same document, `write` and `solve` find one answer, and the answer scores 1.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, make_dataclass
from itertools import count
from typing import Any, ClassVar

from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.rng import Random

HELD_OUT = 0.2  # the share of keys (values of a split's function) that only the test split has
ATTEMPTS = 10_000  # then a search gives up: perhaps the split is empty, or the world is too small


@dataclass(frozen=True)
class Document:
    """A text about the world, with everything that is known about it.

    labels: {name: fact about the text}, in values that JSON can hold.
    truth: the right answer, or "" if the text asks nothing.
    logprob: the exact log-probability of the text in nats, or None if it is not known.
    prompt: the beginning of the text, up to where a model has to answer; "" for prose.
    """

    text: str
    labels: dict
    truth: str = ""
    logprob: float | None = None
    prompt: str = ""

    @property
    def answer(self) -> str:
        """Return the text after the prompt, including steps before the final answer."""
        return self.text[len(self.prompt) :]


def dials(**settings: tuple) -> type:
    """Make a dataclass of dials (settings), which have the types of their defaults.

    A dial is (default, help), (default, help, least, greatest), or (default, help, choices).
    """
    fields = []
    for name, (default, help, *limits) in settings.items():
        words = ("min", "max") if len(limits) == 2 else ("choices",)
        field = setting(default, help=help, **dict(zip(words, limits, strict=False)))
        fields.append((name, type(default), field))
    return make_dataclass("Dials", fields, frozen=True)


class Kind:
    """One kind of text; subclasses define `write` and `solve`.

    The first line of a subclass's docstring describes the kind to users.

    Dials: a dataclass from `dials`; its fields are the settings of the kind, which are called dials.
    name: the name of the kind, made from the class's name: ShellGame becomes shell_game.
    group: the heading under which lists show the kind.
    marker: the text between the steps and the final answer, such as "answer: ", or "".
    end: a text that occurs in no answer; in a sequence of documents it ends each of them.
    choices: all possible answers if they are few, or a function that lists them for a question's fields.
    splits: {name: function}, ways to choose test documents; the first is the default. The function takes a
        document and returns True for a test document and False for others. If it returns other values, such
        as names, a random fifth of the values is chosen, and their documents are test documents.
    options: how many answers are equally likely, or the name of the dial that has this number.
    n: how many documents a name such as world:question generates if it does not say n=.
    """

    name: ClassVar[str]  # the key in `KINDS`, and the NAME in `world:NAME`
    Dials: ClassVar[type] = dials()
    group: ClassVar[str] = "suite"
    marker: ClassVar[str] = ""
    end: ClassVar[str] = "\n"
    choices: tuple[str, ...] = ()
    options: int | str = 0
    n: int = 10_000
    splits: ClassVar[dict[str, Callable[[Document], Any]]] = {
        "text": lambda document: document.prompt or document.text
    }

    def __init_subclass__(cls):
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def write(self, world: Any, random: Random, dials: Any) -> Document:
        """Generate one document; all random numbers come from `random`."""
        raise NotImplementedError

    def solve(self, world: Any, document: Document) -> str:
        """Find the right answer from a document's text and the world, by another algorithm than `write`."""
        raise NotImplementedError

    def choices_of(self, document: Document) -> tuple[str, ...]:
        """Return all possible answers to a question, or () if they cannot be listed."""
        return self.choices

    def chance(self, dials: Any) -> float:
        """Return the mean score of the best guess: a constant answer, or a random one of the options."""
        options = getattr(dials, self.options) if isinstance(self.options, str) else self.options
        return 1 / options if options else 0.0

    def __call__(self, world: Any, random: Random, dials: Any = None) -> Document:
        return self.write(world, random, self.dials() if dials is None else dials)

    def dials(self, **given: Any) -> Any:
        """Return this kind's dials (settings) with the values `given`; raise UserError for a wrong one."""
        known = [field.name for field in fields(self.Dials)]
        for name in given:
            if name not in known:
                raise UserError(f"{self.name} has no dial {name}; it has {', '.join(known) or 'none'}")
        dials = self.Dials(**given)
        check(dials, f"{self.name}: ")
        return dials

    def final(self, answer: str) -> str:
        """Return the final answer in a model's text: the part after the marker, without a full stop."""
        last = answer.rpartition(self.marker)[2] if self.marker else answer
        return last.strip().removesuffix(".")

    def score_answer(self, answer: str | None, document: Document) -> float:
        """Return 1.0 if a model's final answer to a document's prompt is the right one, else 0.0."""
        return float(answer is not None and self.final(answer) == document.truth.removesuffix("."))

    def asked(self, prompt: str, truth: str, labels: dict, steps: str = "") -> Document:
        """Return the document "prompt truth", or "prompt steps marker truth" if there are steps."""
        marker = self.marker if steps else ""
        return Document(f"{prompt} {steps}{marker}{truth}", labels, truth, prompt=prompt)

    def held_out(self, document: Document, by: str | None = None) -> bool:
        """Return True if a document is for testing only; `by` is a key of `splits`, by default the first."""
        name = by or next(iter(self.splits))
        if name not in self.splits:
            raise UserError(f"{self.name} cannot be split by {name}; it can by {', '.join(self.splits)}")
        key = self.splits[name](document)
        if isinstance(key, bool):
            return key
        digest = hashlib.sha256(f"{self.name} {name} {key}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT * 2**32


def attempts() -> Iterator[int]:
    """Count attempts to draw a text that fits; raise UserError if there are too many."""
    yield from range(ATTEMPTS)
    raise UserError("this world has no such text with these dials; take more people, or a later year")


class Stream:
    """An endless list of documents of one kind; document i depends only on i, the seed and the settings."""

    def __init__(self, world: Any, kind: Kind, dials: Any = None, seed: int = 0, split: str = "train",
                 by: str | None = None):
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
        dials = asdict(self.dials)
        raise UserError(f"{self.kind.name} with {dials} has no document for the split {self.split}")

    def __iter__(self) -> Iterator[Document]:
        return map(self.__getitem__, count())
