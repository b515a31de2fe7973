"""Measure how the loss falls with parameters and tokens, and fit the law L = E + A / N^alpha + B / D^beta.

    facts = Facts()
    runs = [measure(facts, width, steps, seed=0)[-1] for width, steps in RUNS[:-1]]
    law = fit_law(runs)  # law[0] should be facts.floor
"""

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.models import build
from tinyllm.models.llama import LlamaConfig
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import GOLDEN, Random
from tinyllm.train import events
from tinyllm.train.config import TrainConfig
from tinyllm.train.fit import loop_of
from tinyllm.train.objectives import next_token

NAMES = 128  # first names, last names, and values
NOISE, ZIPF = 0.1, 1.75  # how often a fact is told wrongly; the i-th fact is told i**-ZIPF times as often,
# so what would follow the last one is worth 0.002 nats: by as much the fitted floor is too low
# widths by steps, all with 8 to 45 facts per parameter, as others are off the law; the last one tests it
STEPS = {800: (12, 16), 1120: range(12, 29, 4), 1600: range(16, 45, 4), 2240: range(24, 45, 4), 3200: (64,)}
RUNS = [(width, steps) for steps in STEPS for width in STEPS[steps]]


class Facts:
    """A table of facts: a first name and a last name have a value. A model reads two names, and says it.

    Some facts are told far more often than others, and all of them sometimes wrongly, with a random value. So
    the lowest possible loss is known: `floor`, in nats.
    """

    def __init__(self, seed: int = 0):
        rng, shares = Random(seed, "facts"), (1.0 + np.arange(NAMES**2)) ** -ZIPF
        self.shares, self.values = shares / shares.sum(), rng.integers(NAMES, len(shares))
        self.ends = np.cumsum(self.shares)  # of the facts, laid out by their shares
        places = np.argsort(rng.uniform(len(shares)))
        self.names = np.stack([places // NAMES, NAMES + places % NAMES], axis=1).astype(np.int32)
        self.other = NOISE / NAMES  # how likely each wrong value is told
        right = 1 - NOISE + self.other
        self.floor = -right * np.log(right) - (NAMES - 1) * self.other * np.log(self.other)

    def batch(self, size: int, *run: int) -> Batch:
        """Draw facts (size, 2) of a step, the last of `run`; only the value after both names is a target."""
        wrong, value = Random(*run).uniform((2, size))
        which = Random(*run[:-1]).uniform() + GOLDEN / 2**64 * (run[-1] * size + np.arange(size))  # evenly
        drawn = np.minimum(np.searchsorted(self.ends, which % 1), len(self.shares) - 1)
        said = np.where(wrong < NOISE, (NAMES * value).astype(int), self.values[drawn])
        return Batch(self.names[drawn], np.stack([np.full(size, IGNORED), said], axis=1).astype(np.int32))

    def loss(self, model: Any) -> float:
        """Return the exact expected loss: over all facts and values, not a sample of them."""
        scores = model.eval()(self.names).data[:, 1].astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        nll = np.log(np.exp(scores).sum(axis=1, keepdims=True)) - scores[:, :NAMES]
        right = nll[np.arange(len(nll)), self.values]
        return float(self.shares @ ((1 - NOISE) * right + self.other * nll.sum(axis=1)))


def measure(facts: Facts, width: int, steps: int, seed: int, also: Any = ()) -> list[tuple[int, int, float]]:
    """Train a model -> its parameters, facts read so far, and loss: after the steps `also`, and at the end.

    Only at the end is the learning rate 0. What is not equally good for all runs bends the law: so the rate
    falls with the width (Yang et al., "Tensor programs V", 2022), and batches grow as the root of the facts.
    """
    batch = max(1, steps * 4 // 25)
    model = build(LlamaConfig(vocab_size=2 * NAMES, context=2, layers=1, width=width, heads=2,
                              hidden=3 * width, init_std=width**-0.5, embed_std=1.0), seed=seed)
    config = TrainConfig(steps=steps, batch=batch, lr=0.5 / width, schedule="linear", warmup=steps // 10,
                         min_lr_ratio=0.0, beta2=0.95, weight_decay=0.0)
    loop = loop_of(config, model, lambda step: facts.batch(batch, seed, width, steps, step), next_token, seed)
    done = (event.step for event in loop if isinstance(event, events.Stepped))
    return [(model.num_parameters(), step * batch, facts.loss(model)) for step in done
            if step in {*also, steps}]


def predicted_loss(law: Any, params: Any, tokens: Any) -> Any:
    """Return the loss that a law predicts."""
    E, A, alpha, B, beta = law
    return E + A / params**alpha + B / tokens**beta


def fit_law(points: Any, floor: bool = True, start: Any = None) -> np.ndarray:
    """Fit a scaling law to runs (R, 3) -> E, A, alpha, B, beta, with the least `ops.scaling_error` found.

    The search begins with each law of a grid, or with the law `start`. Without `floor`, E is 0.
    (Hoffmann et al., "Training compute-optimal large language models", 2022, appendix D.3.)
    """
    params, tokens, losses = np.asarray(points, np.float64).T
    N, D, L = (np.exp(np.log(column).mean()) for column in (params, tokens, losses))
    starts = [(E * L, (1 - E) / 2 * L * N**alpha, alpha, (1 - E) / 2 * L * D**beta, beta)
              for E, alpha, beta in itertools.product((0.3, 0.8) if floor else (0.0,), *[(0.2, 0.5, 1)] * 2)]
    laws = [descend(law, params, tokens, losses) for law in (starts if start is None else [start])]
    return min(laws, key=lambda law: ops.scaling_error(law, params, tokens, losses))


def descend(law: Any, params: Any, tokens: Any, losses: Any, delta: float = 1e-3) -> np.ndarray:
    """Improve a law by Levenberg's and Marquardt's method, with Huber's weights.

    E, A and B change by factors, so that they stay positive.
    """
    error, damping = ops.scaling_error(law, params, tokens, losses, delta), 1e-2
    for _ in range(100):
        E, A, alpha, B, beta = law
        terms = np.stack([np.full_like(losses, E), A * params**-alpha, B * tokens**-beta])
        away = np.log(terms.sum(axis=0) / losses)
        p, q, r = terms / terms.sum(axis=0)
        slopes = np.stack([p, q, -np.log(params) * q, r, -np.log(tokens) * r])
        weighted = slopes * np.minimum(1, delta / np.maximum(np.abs(away), 1e-12))
        curvature = weighted @ slopes.T
        curvature += damping * np.diag(np.diag(curvature)) + 1e-12 * np.eye(5)
        step = np.clip(np.linalg.solve(curvature, -weighted @ away), -1, 1)
        new = np.where([1, 1, 0, 1, 0], law * np.exp(step), law + step)
        found = ops.scaling_error(new, params, tokens, losses, delta)
        better = found < error
        law, error, damping = (new, found, damping / 4) if better else (law, error, damping * 4)
        if damping > 1e8:
            break
    return np.asarray(law)


def intervals(points: np.ndarray, law: Any, numbers: Callable[[Any], Any], draws: int = 200) -> np.ndarray:
    """Return 95 % intervals (2, ...) of `numbers(law)`, by fits to runs that are drawn with replacement."""
    drawn = Random(0, "bootstrap").integers(len(points), (draws, len(points)))
    found = [numbers(fit_law(points[which], law[0] > 0, law)) for which in drawn]
    return np.quantile(found, (0.025, 0.975), axis=0)


def read_points(path: str) -> np.ndarray:
    """Read runs (R, 3) from a text file with params, tokens and loss on each line; # begins a comment.

    Raises UserError when the file is missing or has other lines, and for too few runs, sizes or budgets.
    """
    lines, points = read_text(path).splitlines(), np.zeros((0, 0))
    with suppress(ValueError):
        points = np.array([each.split(",") for each in lines if each.strip() and each[0] != "#"], np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.all((points > 1e-30) & (points < 1e30)):
        raise UserError(f"{path} needs params,tokens,loss on each line, all above 0 and below 1e30, as in "
                        "7e6,3e8,2.5")
    if (n := min(len(np.unique(column)) for column in points.T[:2])) < 3:
        raise UserError(f"{path} has {n} different sizes or budgets: a law needs at least 3, better 5")
    if len(points) < 6:
        raise UserError(f"{path} has {len(points)} runs, and a law has 5 numbers: give more runs than that")
    if np.corrcoef(np.log(points[:, :2].T))[0, 1] > 0.999:
        raise UserError(f"{path} has runs whose tokens grow with the parameters: what each of the two does "
                        "cannot be told apart; give each size several budgets")
    return points
