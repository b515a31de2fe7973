"""Let a judge compare two models' answers blindly, and rank models by who wins (Bradley and Terry, 1952)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice
from json import dumps
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.eval.ask import answers
from tinyllm.eval.statistics import DRAWS
from tinyllm.eval.task import Item, Task, WorldTask
from tinyllm.files import read_text
from tinyllm.rng import Random
from tinyllm.runs import Opened
from tinyllm.world.reward import reward

VOTES = {"1": 1.0, "2": 0.0, "tie": 0.5}  # what the first answer wins


class Duel(NamedTuple):
    """Two models' answers to a question, in the order in which a judge sees them, and their true rewards."""

    question: str
    models: list[str]
    answers: list[str]
    rewards: list[float]

    def line(self, judge: str, vote: str) -> str:
        """Return a vote on the duel as a line of JSON."""
        return dumps({"question": self.question, "models": self.models, "answers": self.answers,
                      "judge": judge, "vote": vote})


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
    found: list[dict] = [{} for _ in items]
    for k, (name, opened) in enumerate(models.items()):
        own = [i for i, pair in enumerate(pairs) if name in pair]
        said = answers(opened, task, [items[i] for i in own], seed=len(models) * seed + k,
                       sampling=opened.sampling) if own else []
        for i, answer in zip(own, said, strict=True):
            found[i][name] = answer
    return [Duel(item.question, pair, [each[name].text.strip() for name in pair],
                 [each[name].score for name in pair])
            for item, pair, each in zip(items, pairs, found, strict=True)]


JUDGES: dict[str, Any] = {  # what is compared of two answers
    "reward": lambda duel: duel.rewards,
    "length": lambda duel: [len(answer.split()) for answer in duel.answers],
    "first": lambda duel: [1, 0],
}


def judged(duel: Duel, judge: str, bias: Mapping[str, float], random: Random) -> str:
    """Return a judge's vote, "1", "2" or "tie"; with the bias {"length": 0.3}, length decides 30 %."""
    first, second = JUDGES[next((x for x, share in bias.items() if random.happens(share)), judge)](duel)
    return "tie" if first == second else "1" if first > second else "2"


def read_votes(path: Path, contests: Sequence[Duel], judge: str) -> list[str]:
    """Return a file's votes on the first of some duels. Raises UserError, naming a line that is wrong."""
    votes, lines = [], read_text(path).splitlines() if path.exists() else []
    for number, (line, duel) in enumerate(zip(lines, contests, strict=False), 1):
        votes += [vote for vote in VOTES if duel.line(judge, vote) == line]
        if len(votes) < number:
            raise UserError(f"{path} line {number} is no vote of the judge {judge} on {duel.models[0]} and "
                            f"{duel.models[1]} with this seed, data and these models: give another --out")
    return votes


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


def rank(names: Sequence[str], contests: Sequence[Duel], votes: Sequence[str], seed: int = 0) -> list[dict]:
    """Rank models by the votes on the first of some duels -> a row for each model, the best first.

    A row has "model", "wins" (a tie is half a win), "points" (400 log10(strength), with mean 0), and the ends
    "low" and "high" of their 95 % interval by a parametric bootstrap: other votes are drawn, as likely as the
    strengths say. Each pair gets one more tie. "missing": about how many more votes tell the model from the
    next one, 0 if they are told apart, None if no number does.
    """
    n, count = len(votes), len(names)
    first, second = np.array([[names.index(x) for x in duel.models] for duel in contests[:n]]).T

    def fit(scores):
        wins = np.zeros((count, count))
        np.add.at(wins, (first, second), scores)
        np.add.at(wins, (second, first), 1 - scores)
        points = 400 * np.log10(strengths(wins, ties=1))
        return wins.sum(axis=1), points - points.mean()

    wins, found = fit(np.array([VOTES[vote] for vote in votes]))
    sure = 1 / (1 + 10 ** ((found[second] - found[first]) / 400))
    order, random = np.argsort(-found, kind="stable"), Random(seed, "bootstrap")
    drawn = np.stack([fit(random.uniform(n) < sure)[1][order] for _ in range(DRAWS)])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    ends = np.quantile(drawn[:, :-1] - drawn[:, 1:], (0.025, 0.975), axis=0)  # of the leads
    missing = [*map(_missing, *ends, -np.diff(found[order]), [n] * count), None]
    return [{"model": names[i], "wins": wins[i], "points": found[i], "low": low[k], "high": high[k],
             "missing": missing[k]} for k, i in enumerate(order)]


def _missing(low, high, lead, n):
    """Return how many more votes move the low end of a lead above 0: its interval shrinks as 1 / sqrt(n)."""
    if low > 0 or lead == 0:
        return 0 if low > 0 else None
    return max(1, math.ceil(n * ((high - low) / 2 / lead) ** 2) - n)
