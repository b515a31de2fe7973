"""Read questions whose answers have rewards, by a checker or by a hidden true reward of the world."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from tinyllm.eval.task import WorldTask
from tinyllm.runs.examples import hold_out, read_records
from tinyllm.runs.recipe import Frame
from tinyllm.world import KINDS
from tinyllm.world.corpus import PREFIX, read_name
from tinyllm.world.kinds.constitution import violations
from tinyllm.world.kinds.hacked_reward import scored
from tinyllm.world.reward import reward


@dataclass(frozen=True)
class Question:
    """A prompt, and functions that return the rewards of an answer as floats."""

    prompt: str
    check: Any = None  # the reward that training may see; None if only a reward model can see one
    truth: Any = None  # the true reward, which only reports may see; None if nobody knows it


OWN: dict[str, tuple] = {  # kind -> check and truth, functions of world, question and answer
    # Nobody sees the true reward, which made people prefer one of two answers.
    "preference": (None, lambda world, asked, answer: math.fsum(reward(world, asked, answer).values())),
    # Training sees the points of a judge who counts repeated animals again.
    "hacked_reward": (lambda world, asked, answer: scored(asked, answer),
                      lambda world, asked, answer: scored(asked, answer, careless=False)),
    # Each rule that an answer breaks costs 1.
    "constitution": (None, lambda world, asked, answer: -float(len(violations(answer)))),
}


def with_end(config: Any, inherited: Frame) -> Frame:
    """Return the frame of a start, or, if it has none, one that ends answers as the data ends them."""
    name = read_name(config.data).name if config.data.startswith(PREFIX) else ""
    return inherited if any(inherited) else Frame(end=KINDS[name].end if name in KINDS else "\n")


class Questions(NamedTuple):
    """Questions to learn from and others, whose prompts do not occur there, and the ids of all prompts."""

    learnt: list[Question]
    held_out: list[Question]
    ids: dict[str, list[int]]  # prompt -> its tokens, the text before an answer included

    @property
    def tokens(self) -> tuple[int, int]:
        """Return how many tokens the prompts of both parts have."""
        learnt, held_out = (sum(len(self.ids[each.prompt]) for each in part) for part in self[:2])
        return learnt, held_out


def read_questions(parts: Any) -> Questions:
    """Return the questions of a run's data.

    Lines of JSONL have a prompt, and perhaps an answer: an equal one is worth 1, another 0. Data of the world
    know the true reward. Raises UserError for a bad line, or a kind that asks nothing.
    """
    if parts.config.data.startswith(PREFIX):
        task = WorldTask(parts.config.data)
        found = [_ask(task, document) for document in parts.corpus.documents]
    else:
        records = read_records(parts.corpus, "prompt", "answer?")
        found = [Question(each["prompt"], _equals(each.get("answer"))) for each in records]
    ids = {each.prompt: parts.frame.prompt(parts.tokenizer, each.prompt) for each in found}
    return Questions(*hold_out(found, parts, lambda each: each.prompt), ids)


def _equals(truth):
    return truth and (lambda answer: float(answer.strip() == truth.strip()))


def _ask(task, document):
    """Return a document's question; its score, 1 or 0, is seen and true, unless OWN has its kind."""
    if task.kind.name not in OWN:
        return Question(document.prompt, *[lambda answer: task.kind.score_answer(answer, document)] * 2)
    asked = document.labels["question"]
    return Question(asked, *(find and partial(find, task.world, asked) for find in OWN[task.kind.name]))
