"""Define Task, a set of questions whose answers can be scored; each kind of text of the world is one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.world import KINDS, Document
from tinyllm.world.corpus import PREFIX, SEPARATOR, read_name
from tinyllm.world.pictures import shown


class Task:
    """A set of questions whose answers can be scored. Subclasses say what an item is.

    name: the name on the command line.
    end: a text that ends an answer if the model has learnt no end of answers.
    chance: the mean score of guessing.
    """

    name: str
    end: str = "\n"
    chance: float = 0.0

    def items(self, split: str) -> Iterable[Any]:
        """Yield the items of a split, "train" or "test", always in the same order."""
        raise NotImplementedError

    def question(self, item: Any) -> str:
        """Return the text of an item's question."""
        raise NotImplementedError

    def answer(self, item: Any) -> str:
        """Return a right answer as it stands behind the question, with the blank or line break before it."""
        raise NotImplementedError

    def truth(self, item: Any) -> str:
        """Return the right answer, without steps."""
        return self.answer(item).strip()

    def choices(self, item: Any) -> Sequence[str]:
        """Return the possible answers, or () if a model has to find its own words."""
        return ()

    def picture(self, item: Any) -> tuple[np.ndarray, str] | None:
        """Return the picture that an item is about, and the question about it, or None."""
        return None

    def suffix(self, item: Any) -> str:
        """Return the text behind the answer, if a model has to fill a gap, else ""."""
        return ""

    def score(self, item: Any, answer: str) -> float:
        """Return how good a model's answer is, from 0 to 1."""
        return float(answer.strip() == self.truth(item))

    def prompt(self, item: Any, shots: Sequence[Any] = (), frame: Frame = NO_FRAME) -> str:
        """Return an item's question as a prompt, after other items (shots) with their answers.

        A model that has learnt answers gets the texts of its `frame` around them. Any other model gets each
        question with its answer as one document.
        """
        end = frame.end if any(frame) else SEPARATOR
        asked = [self.question(each) + frame.separator for each in (*shots, item)]
        told = [behind(self.answer(shot), frame) + end for shot in shots]
        return "".join(text for pair in zip(asked, [*told, ""], strict=True) for text in pair)


def behind(answer: str, frame: Frame) -> str:
    """Return an answer as it stands behind a prompt: a frame takes the place of its blank or line break."""
    return answer[1:] if any(frame) else answer


class WorldTask(Task):
    """The questions of a kind of text, found by a name such as world:parity,size=8; items are documents."""

    def __init__(self, name: str):
        self.name, self._named = name, read_name(name)
        if self._named.name == "mix" or not next(self.items("all")).prompt:
            raise UserError(f"{name} asks nothing, so no answer can be scored: take a kind with questions")
        self.kind = KINDS[self._named.name]
        self.end, self.chance = self.kind.end, self.kind.chance(self._named.dials)

    def items(self, split: str) -> Iterator[Document]:
        """Yield the documents of a split; raise UserError if there are none."""
        return replace(self._named, options=replace(self._named.options, split=split)).documents()

    def question(self, item: Document) -> str:
        """Return the text of a document up to its answer."""
        return item.prompt

    def answer(self, item: Document) -> str:
        """Return the rest of the document, or the truth if the document tells of a wrong attempt."""
        return item.answer if self.score(item, item.answer) == 1 else f" {item.truth}"

    def truth(self, item: Document) -> str:
        """Return the right answer, without steps."""
        return item.truth

    def choices(self, item: Document) -> Sequence[str]:
        """Return the possible answers of the kind, or ()."""
        return self.kind.choices

    def picture(self, item: Document) -> tuple[np.ndarray, str] | None:
        """Return the picture of a document, and its question without the number of the picture's page."""
        return shown(item)

    def score(self, item: Document, answer: str) -> float:
        """Return the score that the kind gives to an answer."""
        return self.kind.score_answer(answer, self.kind.entry(item))


def find_task(name: str) -> Task:
    """Return a task by its name. Raises UserError when there is none."""
    if not name.startswith(PREFIX):
        raise UserError(f"there is no task {name!r}: write {PREFIX}KIND, such as {PREFIX}parity,size=8")
    return WorldTask(name)
