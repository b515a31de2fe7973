"""Let a judge compare two models' answers blindly, and rank models by who wins (Bradley and Terry, 1952)."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice, pairwise
from typing import Any, NamedTuple

import numpy as np

from tinyllm import ops
from tinyllm.config import bounded
from tinyllm.eval.ask import answers
from tinyllm.eval.task import Item, Task, WorldTask
from tinyllm.rng import Random
from tinyllm.runs import Opened
from tinyllm.world.reward import reward

VOTES = {"1": 1.0, "2": 0.0, "tie": 0.5}  # what the first answer wins
VOTE = {"question": str, "models": [str], "answers": [str], "judge": str,
        "vote": bounded(str, choices=tuple(VOTES))}  # a line of a file of votes


class Duel(NamedTuple):
    """Two models' answers to a question, in the order in which a judge sees them, and their true rewards."""

    question: str
    models: list[str]
    answers: list[str]
    rewards: list[float]


class Preferred(WorldTask):
    """The questions of the kind `preference`; the score of an answer is its true reward."""

    def items(self, split: str) -> Iterator[Item]:
        """Yield the questions of a split, with the answers that were liked better."""
        for labels in (document.labels for document in self.documents(split)):
            yield Item(labels["question"], f" {labels['chosen']}", labels["chosen"])

    def score(self, item: Item, answer: str) -> float:
        """Return the true reward of an answer."""
        return math.fsum(reward(self.world, item.question, answer).values())


def duels(models: Mapping[str, Opened], task: Task, n: int, seed: int = 0) -> list[Duel]:
    """Let two models answer each of the first n test items of a task -> n duels.

    Pairs of models take turns, and who stands first is random. More duels begin with the same ones, and there
    are fewer if the task has fewer items.
    """
    items, turns = list(islice(task.items("test"), n)), list(combinations(models, 2))
    pairs = [Random(seed, "order", i).shuffle(turns[i % len(turns)]) for i in range(len(items))]
    said = {}
    for k, (name, opened) in enumerate(models.items()):
        own = [item for item, pair in zip(items, pairs, strict=True) if name in pair]
        said[name] = iter(answers(opened, task, own, seed=len(models) * seed + k,
                                  sampling=opened.sampling) if own else [])
    both = [[next(said[name]) for name in pair] for pair in pairs]
    return [Duel(item.question, pair, [x.text.strip() for x in found], [x.score for x in found])
            for item, pair, found in zip(items, pairs, both, strict=True)]


JUDGES: dict[str, Any] = {  # what is compared of two answers
    "reward": lambda duel: duel.rewards,
    "length": lambda duel: [len(answer.split()) for answer in duel.answers],
    "first": lambda duel: [1, 0],
}


def judged(duel: Duel, judge: str, bias: Mapping[str, float], random: Random) -> str:
    """Return a judge's vote, "1", "2" or "tie"; with the bias {"length": 0.3}, length decides 30 %."""
    first, second = JUDGES[next((x for x, share in bias.items() if random.happens(share)), judge)](duel)
    return "tie" if first == second else "1" if first > second else "2"


def strengths(wins: np.ndarray, ties: float = 0.0) -> np.ndarray:
    """Return the likeliest strengths (n,) of n models, whose sum is 1.

    wins (n, n) is how often a model beat another; a tie is half a win of each. ties: how many more each pair
    gets. One makes the strengths finite and unique, and brings them nearer to each other.
    """
    wins, found = wins + ties / 2 * (1 - np.eye(len(wins))), np.full(len(wins), 1 / len(wins))
    for _ in range(10_000):
        before, found = found, ops.bradley_terry_step(wins, found)
        if np.abs(found - before).max() < 1e-12:
            break
    return found


def won(names: Sequence[str], contests: Sequence[Duel], scores: Iterable[float]) -> np.ndarray:
    """Count how often models won (n, n) in the first of some duels; scores are what the first answers win."""
    wins = np.zeros((len(names), len(names)))
    for duel, score in zip(contests, scores, strict=False):
        first, second = map(names.index, duel.models)
        wins[first, second] += score
        wins[second, first] += 1 - score
    return wins


def rank(names: Sequence[str], contests: Sequence[Duel], votes: Sequence[str]) -> list[dict]:
    """Rank models by the votes on the first of some duels -> a row for each model, the best first.

    A row has "model", "wins" (a tie is half a win), "points" (400 log10(strength), with mean 0), and the ends
    "low" and "high" of their 95 % interval. Each pair gets one more tie. "missing": about how many more votes
    tell the model from the next one, 0 if they are told apart, None if no number does.

    The intervals are those of a normal distribution whose covariance is the inverse of Fisher's information:
    a vote between models that win with probability p and 1 - p tells p (1 - p) about the difference of their
    log-strengths.
    """
    wins = won(names, contests, [VOTES[vote] for vote in votes])
    found, unit = strengths(wins, ties=1), 400 / math.log(10)
    sure = found[:, None] / (found[:, None] + found)
    told = (wins + wins.T + 1) * sure * (1 - sure)
    covariance = unit**2 * np.linalg.pinv(np.diag(told.sum(axis=1)) - told)
    points, width = unit * (np.log(found) - np.log(found).mean()), 1.96 * np.sqrt(np.diag(covariance))
    rows = [{"model": name, "wins": wins[i].sum(), "points": points[i], "low": points[i] - width[i],
             "high": points[i] + width[i], "missing": None} for i, name in enumerate(names)]
    order = np.argsort(-points, kind="stable").tolist()
    for i, j in pairwise(order):
        if (lead := points[i] - points[j]) > 1e-6:
            variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
            rows[i]["missing"] = max(0, math.ceil(len(votes) * (1.96**2 * variance / lead**2 - 1)))
    return [rows[i] for i in order]
