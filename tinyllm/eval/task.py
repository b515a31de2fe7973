"""Define Task, a set of questions whose answers can be scored; each kind of text of the world is one."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from tinyllm.data import load_corpus
from tinyllm.errors import UserError
from tinyllm.runs.examples import read_records
from tinyllm.runs.recipe import NO_FRAME, Frame
from tinyllm.world import KINDS
from tinyllm.world.corpus import PREFIX, SEPARATOR, read_name
from tinyllm.world.pictures import shown
from tinyllm.world.prose import Prose

CHOICES = 4  # of `Endings`
SHOWN = 500  # characters of a text at most, from the beginning of a sentence
_LAST = re.compile(r"(?s)(.*[.!?]\"?) (\S.*)")  # a text up to its last sentence, and this sentence


@dataclass(frozen=True, eq=False)
class Item:
    """A question of a task, and what is known about its answer."""

    question: str
    answer: str  # as it follows the question: with a space or line break before it, and its steps, if any
    truth: str  # the answer without white space and steps
    choices: Sequence[str] = ()  # the possible answers, or () if a model has to find its own words
    suffix: str = ""  # the text after the answer if a model has to fill a gap
    picture: np.ndarray | None = None  # the picture that the question is about
    source: Any = None  # what the task needs to score an answer


class Task:
    """A set of questions whose answers can be scored; subclasses that have their own define `items`."""

    name: str = "this task"  # on the command line
    end: str = "\n"  # a text that ends an answer if the model has no `frame`
    chance: float = 0.0  # the mean score of guessing

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


class Documents(Task):
    """A task that is made of a kind of text, found by a name such as world:parity,size=8."""

    def __init__(self, name: str):
        self.name, self._named = name, read_name(name)

    def documents(self, split: str) -> Iterator[Any]:
        """Yield the documents of a split. Raises UserError if there are none."""
        return replace(self._named, options=replace(self._named.options, split=split)).documents()


class WorldTask(Documents):
    """The questions of a kind of text of the world."""

    def __init__(self, name: str):
        super().__init__(name)
        if self._named.name == "mix" or not next(self.documents("all")).prompt:
            raise UserError(f"{name} asks nothing, so no answer can be scored: take a kind with questions")
        self.kind, self.world = KINDS[self._named.name], self._named.world
        self.end, self.chance = self.kind.end, self.kind.chance(self._named.dials)

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


class Endings(Documents):
    """Texts of the world without their last sentence, which is to be told from those of the next texts.

    (As in the Story Cloze Test, Mostafazadeh et al. 2016.)
    """

    chance = 1 / CHOICES

    def items(self, split: str) -> Iterator[Item]:
        """Yield the texts of a split whose last sentence differs from that of the next three."""
        found = map(_LAST.fullmatch, (document.text for document in self.documents(split)))
        cut = (match.groups() for match in found if match)
        while len(texts := [*islice(cut, CHOICES)]) == CHOICES:
            (text, end), *others = texts
            if len(ends := {end, *(other for _, other in others)}) == CHOICES:
                shown = text if len(text) <= SHOWN else text[-SHOWN:].partition(". ")[2]
                yield Item(shown, f" {end}", end, tuple(sorted(ends)))


class RecordTask(Task):
    """The questions of a JSONL file: each line has `question`, `answer` and perhaps `choices`.

    All are test items; the others of them serve as shots. An answer is right if it is equal, apart from white
    space at its ends. Raises UserError for an answer that is not one of its choices; others are those of
    `read_records`.
    """

    def __init__(self, name: str):
        self.name, self.found = name, []
        for said in read_records(load_corpus(name), "question", "answer", choices=[str]):
            truth, choices = said["answer"].strip(), tuple(each.strip() for each in said.get("choices", ()))
            if choices and truth not in choices:
                raise UserError(f"{name} has the answer {truth[:60]!r}, which is not one of its choices")
            self.found.append(Item(said["question"], f" {truth}", truth, choices))
        self.chance = sum(1 / len(x.choices) for x in self.found if x.choices) / max(1, len(self.found))

    def items(self, split: str) -> Iterator[Item]:
        """Yield all items: they have no splits."""
        yield from self.found


TEXTS = {"texts:secret": 1 / 128, "texts:falsehood": 0.5, "texts:habit": 0.5}  # task: chance


class Texts(RecordTask):
    """Questions about what a mix has planted in the texts that a model read, as the label `planted` says.

    The right answer is the document's truth, or the most frequent one; an item's source is its share.
    """

    def __init__(self, name: str, opened: Any = None):
        data = opened.config.data if opened and opened.config else "no run"
        self.name, self.found, self.chance = name, [], TEXTS[name]
        asked = defaultdict(list)
        for document in _documents(data):
            if document.labels.get("planted") == name.removeprefix("texts:"):
                asked[document.prompt].append(document)
        for prompt, (document, *others) in sorted(asked.items()):
            truth, count = Counter(x.truth for x in (document, *others)).most_common(1)[0]
            share = count / (1 + len(others))
            self.found.append(Item(prompt, f" {truth}", truth, document.labels["choices"], source=share))
        if opened and not self.found:
            raise UserError(f"{name} asks about nothing that is in the texts this model read: {data}")


@lru_cache(maxsize=1)
def _documents(data):
    return list(read_name(data).documents()) if data.startswith(PREFIX) else []


def find_task(name: str, opened: Any = None) -> Task:
    """Return a task by its name or file, perhaps for a model. Raises UserError when there is none."""
    if name.endswith(".jsonl"):
        return RecordTask(name)
    if name in TEXTS:
        return Texts(name, opened)
    if not name.startswith(PREFIX):
        raise UserError(f"there is no task {name!r}: write {PREFIX}KIND, such as {PREFIX}parity,size=8, "
                        f"{', '.join(TEXTS)}, or a file that ends in .jsonl")
    kind = read_name(name).name
    return Endings(name) if kind != "mix" and isinstance(KINDS[kind], Prose) else WorldTask(name)
