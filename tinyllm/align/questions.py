"""Read questions whose answers have rewards, by a checker or by a hidden true reward of the world."""

import math
from dataclasses import dataclass
from typing import Any

from tinyllm.eval.task import WorldTask
from tinyllm.runs.examples import read_records
from tinyllm.world.corpus import PREFIX
from tinyllm.world.kinds.constitution import violations
from tinyllm.world.kinds.hacked_reward import scored
from tinyllm.world.reward import reward


@dataclass(frozen=True)
class Question:
    """A prompt, and the rewards of its answers.

    check(answer) returns the reward that training may see, a float; None if only a reward model can.
    truth(answer) returns the true reward, which only reports may see; None if nobody knows it.
    """

    prompt: str
    check: Any = None
    truth: Any = None


def read_questions(parts: Any) -> tuple[list[Question], str]:
    """Return the questions of a run's data, and the text that ends an answer of a model without a frame.

    Data of the world know the true reward. Lines of JSONL have a prompt, and perhaps an answer: then an
    answer is worth 1 if it is equal, else 0. Raises UserError for a bad line, or a kind that asks nothing.
    """
    if not parts.config.data.startswith(PREFIX):
        records = read_records(parts.corpus, "prompt", "answer?")
        return [Question(each["prompt"], _equals(each.get("answer"))) for each in records], "\n"
    task = WorldTask(parts.config.data)
    make = OWN.get(task.kind.name, _by_score)
    return [make(task, document) for document in parts.corpus.documents], task.end


def _equals(truth):
    return truth and (lambda answer: float(answer.strip() == truth.strip()))


def _by_score(task, document):
    """Ask as an evaluation does: the score, 1 or 0, is what training sees and what is true."""

    def score(answer):
        return task.kind.score_answer(answer, document)

    return Question(document.prompt, score, score)


def _preference(task, document):
    """Ask the question of a pair of answers; nobody sees the true reward, which made people prefer one."""
    asked = document.labels["question"]
    return Question(asked, None, lambda answer: math.fsum(reward(task.world, asked, answer).values()))


def _hacked(task, document):
    """Ask for animals; training sees the points of a judge who counts repeated animals again."""
    asked = document.labels["question"]
    return Question(asked, lambda answer: scored(asked, answer),
                    lambda answer: scored(asked, answer, careless=False))


def _constitution(task, document):
    """Ask the question of a draft; each rule that an answer breaks costs 1 of its true reward."""
    return Question(document.labels["question"], None, lambda answer: -float(len(violations(answer))))


OWN = {"preference": _preference, "hacked_reward": _hacked, "constitution": _constitution}
