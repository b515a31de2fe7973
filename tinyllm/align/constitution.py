"""Let a model criticise and revise its own answers by the rules of a constitution."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm.align.pairs import of_pairs
from tinyllm.align.rollout import draw
from tinyllm.data import Batch, rows
from tinyllm.errors import UserError
from tinyllm.eval.task import WorldTask
from tinyllm.rng import Random
from tinyllm.runs.opened import Opened
from tinyllm.world.kinds.constitution import ASKING, MARKER, violations
from tinyllm.world.reward import reward

TRIES = 8  # of a step whose drafts get no revision


class Author:
    """A model that answers questions; `most` is the largest number of tokens of an answer."""

    def __init__(self, model: Any, tokenizer: Any, frame: Any, most: int):
        self.opened, self.frame, self.most = Opened(model, tokenizer, frame), frame, most
        if 2 * most > (context := model.config.context):
            raise UserError(f"a draft and its revision, {most} tokens each, exceed the context of {context}: "
                            "set a smaller constitutional.max_tokens")

    def write(self, prompts: Sequence[str], seed: int) -> list[str]:
        """Draw an answer to each prompt."""
        ids = [self.ids(prompt) for prompt in prompts]
        return [each.text.strip() for each in draw(self.opened, ids, self.most, self.opened.stops, seed)]

    def ids(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt, cut on the left to leave room for an answer."""
        ids = self.frame.prompt(self.opened.tokenizer, prompt)
        return ids[-(self.opened.model.config.context - self.most) :]

    def lay_out(self, pairs: Sequence[tuple[str, str]]) -> Batch:
        """Make a batch of prompts with their answers; answers, their end included, are the targets."""
        answers = [self.frame.answer(self.opened.tokenizer, text) for _, text in pairs]
        return rows([self.ids(prompt) for prompt, _ in pairs], answers, self.opened.model.config.context)


def revised_batch(author: Author, questions: Sequence[str], seed: int) -> Batch:
    """Draft answers, criticise them, and write better ones (Bai et al. 2022, section 3) -> a batch of these.

    Raises UserError if nothing is revised in some tries.
    """
    for once in range(seed, seed + 2 * TRIES, 2):
        drafts = author.write(questions, once)
        asked = [ASKING.format(question=q, draft=draft) for q, draft in zip(questions, drafts, strict=True)]
        written = [text.partition(MARKER)[2].strip() for text in author.write(asked, once + 1)]
        if pairs := [(q, revision) for q, revision in zip(questions, written, strict=True) if revision]:
            return author.lay_out(pairs)
    raise UserError("the start writes no revisions: first train it, by sft, to answer and to revise")


def preferred_batch(author: Author, questions: Sequence[str], seed: int) -> Batch | None:
    """Draw two answers to each question -> pairs that prefer the one with fewer broken rules, or None."""
    pairs = []
    for q, *both in zip(questions, *(author.write(questions, seed + i) for i in range(2)), strict=True):
        chosen, rejected = sorted(both, key=broken)
        if broken(chosen) < broken(rejected):
            pairs += [(q, chosen), (q, rejected)]
    return of_pairs(author.lay_out(pairs)) if pairs else None


class Phases:
    """Return the batch of a step: revisions of the start's drafts at first, then pairs of own answers.

    reference: the model as it was before its first preferences; every checkpoint after that has its weights.
    """

    def __init__(self, start: Author, own: Author, questions: Sequence[str], revisions: int, size: int,
                 seed: int):
        self.start, self.own, self.questions = start, own, questions
        self.revisions, self.size, self.seed = revisions, size, seed
        self.reference: Any = None

    def __call__(self, step: int) -> Batch:
        random = Random(self.seed, "constitution", step)
        asked = [self.questions[i] for i in random.integers(len(self.questions), self.size)]
        seed = random.integers(2**31)
        if step < self.revisions:
            return revised_batch(self.start, asked, seed)
        self.reference = self.reference or copy.deepcopy(self.own.opened.model).eval()
        return preferred_batch(self.own, asked, seed) or revised_batch(self.start, asked, seed)

    def report(self, batch: Batch) -> dict[str, float]:
        """Return what share of the questions gave a revision or a pair to learn from, and if it was pairs."""
        return {"learnable": len(batch.tokens) / self.size, "preferences": float(batch.tokens.ndim == 3)}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the weights of the reference, once there is one, for a checkpoint."""
        return self.reference.state_dict() if self.reference else {}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take the reference of a checkpoint. Raises UserError if it is of another model."""
        if state:
            self.reference = copy.deepcopy(self.own.opened.model).eval()
            self.reference.load_state_dict(state)


def broken(answer: str) -> int:
    """Return how many rules of the constitution an answer breaks."""
    return len(violations(answer))


def judge(parts: Any, author: Author, questions: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the mean number of rules that an answer breaks, "val_loss", and two shares of the answers.

    These are "violations", of those that break a rule, and "helpful", of those that say the fact asked for.
    """
    answers, world = author.write(questions, seed), WorldTask(parts.config.data).world
    counts = np.array([broken(answer) for answer in answers])
    right = [reward(world, q, answer)["right"] > 0 for q, answer in zip(questions, answers, strict=True)]
    return {"val_loss": float(counts.mean()), "val_loss_per_char": None,
            "violations": float((counts > 0).mean()), "helpful": float(np.mean(right))}
