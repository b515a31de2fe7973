"""Tell the weather by a Markov chain; a model must find out which chain a text follows."""

import math
from functools import cache
from itertools import pairwise

import numpy as np

from tinyllm.config import setting
from tinyllm.rng import Random
from tinyllm.world.document import Document, Kind
from tinyllm.world.world import World

WEATHER = ("sun", "cloud", "rain", "fog", "snow", "wind")
PARTS = 60  # the probabilities of the chains of a set are multiples of 1/60


@cache
def chain(seed: int, number: int) -> list[list[int]]:
    """Return the weights of a Markov chain: row i has the weights of the words after WEATHER[i].

    A row is drawn uniformly from all rows of positive integers with the sum PARTS.
    """
    random, rows = Random(seed, "markov", number), []
    for _ in WEATHER:
        cuts = sorted(random.shuffle(range(1, PARTS))[: len(WEATHER) - 1])
        rows.append([b - a for a, b in zip([0, *cuts], [*cuts, PARTS], strict=True)])
    return rows


def predictive(world: World, words: list[str], chains: int = 16) -> np.ndarray:
    """Return the best possible prediction of each word: probabilities (words, 6) of the words in WEATHER.

    The first word is uniform. The prediction is the mean over all chains, weighted by the probability of each
    chain given the words so far (Bayes). If chains is 0, every text has a new chain with rows from
    Dirichlet(1, ..., 1): after n_i visits to i, n_ij of them followed by j, p(j) = (n_ij + 1) / (n_i + 6).
    """
    days = [WEATHER.index(word) for word in words]
    table = np.array([chain(world.config.seed, k) for k in range(chains)] or [[[1] * 6] * 6], np.float64)
    belief = np.full(len(table), 1 / len(table))
    out = [np.full(len(WEATHER), 1 / len(WEATHER))]
    for before, after in pairwise(days):
        rows = table[:, before] / table[:, before].sum(-1, keepdims=True)
        out.append(belief @ rows)
        belief = belief * rows[:, after]
        belief /= belief.sum()
        table[:, before, after] += chains == 0
    return np.array(out)


def log_likelihood(world: World, words: list[str], chains: int = 16) -> float:
    """Return the exact log-probability in nats of words that were drawn from one of `chains` Markov chains.

    The sum of the logarithms of `predictive` has the same value. This function rounds only in its last step.
    """
    days = [WEATHER.index(word) for word in words]
    moves = [len(WEATHER) * before + after for before, after in pairwise(days)]
    if chains:
        ways = sum(math.prod(map(row.__getitem__, moves)) for row in _flat(world.config.seed, chains))
        return math.log(ways) - math.log(len(WEATHER) * chains * PARTS ** len(moves))
    ways, all_ways = 1, len(WEATHER)
    seen, visits = [0] * len(WEATHER) ** 2, [0] * len(WEATHER)
    for before, move in zip(days, moves, strict=False):
        ways, all_ways = ways * (1 + seen[move]), all_ways * (len(WEATHER) + visits[before])
        seen[move], visits[before] = seen[move] + 1, visits[before] + 1
    return math.log(ways) - math.log(all_ways)


@cache
def _flat(seed, chains):
    return [[weight for row in chain(seed, k) for weight in row] for k in range(chains)]


class Markov(Kind):
    """Tell the weather day by day, where each text follows another Markov chain.

    `logprob` is computed by `log_likelihood`; `read` assumes the default number of chains.
    """

    group = "in-context"

    class Dials:
        days: int = setting(64, help="how many days are told", min=8, max=256)
        chains: int = setting(16, help="how many chains there are; 0: a new one every time", min=0, max=1024)

    def write(self, world: World, random: Random, dials: Dials) -> Document:
        """Draw the words from one of the chains, or (if there is no set of chains) from Polya's urns.

        An urn has the words that follow one word; a word that is drawn is put back twice. So a text has the
        same probability as with a new chain from Dirichlet(1, ..., 1), but only integers are needed.
        """
        fixed = chain(world.config.seed, random.integers(dials.chains)) if dials.chains else None
        rows, days = fixed or [[1] * len(WEATHER) for _ in WEATHER], [random.integers(len(WEATHER))]
        totals = [sum(row) for row in rows]
        while len(days) < dials.days:
            row, at, ticket = rows[days[-1]], 0, random.integers(totals[days[-1]])
            while ticket >= row[at]:
                ticket -= row[at]
                at += 1
            if not fixed:
                row[at] += 1
                totals[days[-1]] += 1
            days.append(at)
        return self._document(world, [WEATHER[day] for day in days], dials.chains)

    def _document(self, world, words, chains):
        labels = {"days": len(words), "scored": list(range(1, len(words)))}
        return Document(" ".join(words), labels, logprob=log_likelihood(world, words, chains))

    def read(self, world: World, text: str) -> Document | None:
        words = text.split(" ")
        if len(words) < 8 or not set(words) <= set(WEATHER):
            return None
        return self._document(world, words, self.dials().chains)

    def solve(self, world: World, document: Document) -> str:
        """Return "", because the text asks nothing."""
        return ""
