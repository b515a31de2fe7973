"""Define Task, a set of questions whose answers can be scored; each kind of text of the world is one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.world import KINDS
from tinyllm.world.corpus import PREFIX, SEPARATOR, read_name
from tinyllm.world.pictures import shown


@dataclass(frozen=True, eq=False)
class Item:
    """A question of a task, and what is known about its answer.

    answer: a right answer as it follows the question: with a space or line break before it, and with its
        steps if it has any; truth: the same without white space and steps.
    choices: the possible answers, or () if a model has to find its own words.
    suffix: the text after the answer if a model has to fill a gap.
    picture: the picture that the question is about, or None.
    source: what the task needs to score an answer.
    """

    question: str
    answer: str
    truth: str
    choices: Sequence[str] = ()
    suffix: str = ""
    picture: np.ndarray | None = None
    source: Any = None


class Task:
    """A set of questions whose answers can be scored; subclasses define `items`.

    name: the name on the command line.
    end: a text that ends an answer if the model has no `frame`.
    chance: the mean score of guessing.
    """

    name: str
    end: str = "\n"
    chance: float = 0.0

    def items(self, split: str) -> Iterable[Item]:
        """Yield the items of a split, "train" or "test", always in the same order."""
        raise NotImplementedError

    def score(self, item: Item, answer: str) -> float:
        """Return how good a model's answer is, from 0 to 1."""
        return float(answer.strip() == item.truth)

    def prompt(self, item: Item, shots: Sequence[Item] = (), frame: Frame = NO_FRAME) -> str:
        """Return an item's question as a prompt, after other items (shots) with their answers.

        A model that has learnt answers gets the texts of its `frame` around them. Any other model gets each
        question with its answer as one document.
        """
        end = frame.end if any(frame) else SEPARATOR
        told = (f"{x.question}{frame.separator}{behind(x.answer, frame)}{end}" for x in shots)
        return "".join(told) + item.question + frame.separator


def behind(answer: str, frame: Frame) -> str:
    """Return an answer as it follows a prompt: a frame replaces the space or line break before it."""
    return answer[1:] if any(frame) else answer


class WorldTask(Task):
    """The questions of a kind of text, found by a name such as world:parity,size=8."""

    def __init__(self, name: str):
        self.name, self._named = name, read_name(name)
        if self._named.name == "mix" or not next(self.documents("all")).prompt:
            raise UserError(f"{name} asks nothing, so no answer can be scored: take a kind with questions")
        self.kind, self.world = KINDS[self._named.name], self._named.world
        self.end, self.chance = self.kind.end, self.kind.chance(self._named.dials)

    def documents(self, split: str) -> Iterator[Any]:
        """Yield the documents of a split. Raises UserError if there are none."""
        return replace(self._named, options=replace(self._named.options, split=split)).documents()

    def items(self, split: str) -> Iterator[Item]:
        """Yield the documents of a split as items; a document's wrong answer is replaced by the right one."""
        for document in self.documents(split):
            picture, question = shown(document) or (None, document.prompt)
            right = self.kind.score_answer(document.answer, document) == 1
            answer = document.answer if right else f" {document.truth}"
            choices = self.kind.choices_of(document)
            yield Item(question, answer, document.truth, choices, "", picture, document)

    def score(self, item: Item, answer: str) -> float:
        """Return the score that the kind gives to an answer."""
        return self.kind.score_answer(answer, item.source)


def find_task(name: str) -> Task:
    """Return a task by its name. Raises UserError when there is none."""
    if not name.startswith(PREFIX):
        raise UserError(f"there is no task {name!r}: write {PREFIX}KIND, such as {PREFIX}parity,size=8")
    return WorldTask(name)
