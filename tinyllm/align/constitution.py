"""Let a model criticise and revise its own answers by the rules of a constitution."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyllm.align.pairs import of_pairs
from tinyllm.align.rollout import draw
from tinyllm.data import Batch, rows
from tinyllm.errors import UserError
from tinyllm.eval.task import WorldTask
from tinyllm.runs.opened import Opened
from tinyllm.world.kinds.constitution import ASKING, MARKER, violations
from tinyllm.world.reward import reward


class Revised(NamedTuple):
    """A question, the model's draft of an answer, and its revision of the draft, or "" if it wrote none."""

    question: str
    draft: str
    revision: str


class Author:
    """A model that answers questions; `most` is the largest number of tokens of an answer."""

    def __init__(self, model: Any, tokenizer: Any, frame: Any, most: int):
        self.opened, self.frame, self.most = Opened(model, tokenizer, frame), frame, most

    def write(self, prompts: Sequence[str], seed: int) -> list[str]:
        """Draw an answer to each prompt."""
        ids = [self.ids(prompt) for prompt in prompts]
        return [each.text.strip() for each in draw(self.opened, ids, self.most, self.opened.stops, seed)]

    def revise(self, questions: Sequence[str], seed: int) -> list[Revised]:
        """Draft answers, criticise them, and write better ones (Bai et al. 2022, section 3)."""
        drafts = self.write(questions, seed)
        asked = [ASKING.format(question=q, draft=draft) for q, draft in zip(questions, drafts, strict=True)]
        written = [text.partition(MARKER)[2].strip() for text in self.write(asked, seed + 1)]
        return [Revised(*each) for each in zip(questions, drafts, written, strict=True)]

    def ids(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, cut on the left to leave room for an answer."""
        ids = self.opened.tokenizer.encode(prompt + self.frame.separator)
        return ids[-(self.opened.model.config.context - self.most) :]

    def lay_out(self, pairs: Sequence[tuple[str, str]]) -> Batch:
        """Make a batch of prompts with their answers; answers, their end included, are the targets."""
        encode, end = self.opened.tokenizer.encode, self.frame.end
        return rows([self.ids(prompt) for prompt, _ in pairs], [encode(text + end) for _, text in pairs],
                    self.opened.model.config.context)


def revised_batch(author: Author, questions: Sequence[str], seed: int) -> Batch:
    """Return a batch of questions with an author's revisions. Raises UserError if it revises nothing."""
    pairs = [(each.question, each.revision) for each in author.revise(questions, seed) if each.revision]
    if not pairs:
        raise UserError("the start writes no revisions: first train it, by sft, to answer and to revise")
    return author.lay_out(pairs)


def preferred_batch(author: Author, questions: Sequence[str], seed: int) -> Batch | None:
    """Draw two answers to each question, and prefer the one that breaks fewer rules.

    Returns a batch of pairs, or None if none differs in the number of broken rules.
    """
    first, second = (author.write(questions, seed + i) for i in range(2))
    pairs = [(q, *sorted(both, key=lambda text: len(violations(text))))
             for q, *both in zip(questions, first, second, strict=True)
             if len(violations(both[0])) != len(violations(both[1]))]
    if not pairs:
        return None
    flat = author.lay_out([(q, text) for q, *both in pairs for text in both])
    return of_pairs(flat)


def questions_of(parts: Any) -> list[str]:
    """Return the questions of a run's data. Raises UserError unless the data are world:constitution."""
    if not parts.config.data.startswith("world:constitution"):
        raise UserError(f"{parts.corpus.name} has no rules to keep: give --data world:constitution")
    return [document.labels["question"] for document in parts.corpus.documents]


def judge(parts: Any, author: Author, questions: Sequence[str], seed: int) -> dict[str, Any]:
    """Return how an author's answers keep the rules, and if they help.

    "val_loss" is the mean number of rules that an answer breaks, "violations" the share of answers that break
    one, "helpful" the share that says the fact that was asked for.
    """
    answers, world = author.write(questions, seed), WorldTask(parts.config.data).world
    broken = np.array([len(violations(answer)) for answer in answers])
    right = [reward(world, q, answer)["right"] > 0 for q, answer in zip(questions, answers, strict=True)]
    return {"val_loss": float(broken.mean()), "val_loss_per_char": None,
            "violations": float((broken > 0).mean()), "helpful": float(np.mean(right))}
