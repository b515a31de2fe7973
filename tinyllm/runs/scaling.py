"""Measure how the loss falls with parameters and tokens, and fit the law L = E + A / N^alpha + B / D^beta.

    facts = Facts()
    runs = [measure(facts, width, steps, seed=0) for width in WIDTHS for steps in STEPS]
    law = fit_law([last(run) for run in runs])  # law[0] should be facts.floor
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.files import read_text
from tinyllm.models import build
from tinyllm.models.llama import LlamaConfig
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.train import events
from tinyllm.train.config import TrainConfig
from tinyllm.train.fit import loop_of
from tinyllm.train.objectives import next_token

NAMES = 64  # first names, last names, and values
NOISE, ZIPF = 0.1, 1.5  # how often a fact is told wrongly; the i-th fact is told i**-ZIPF times as often
WIDTHS, STEPS, BATCH = (16, 22, 30, 42), (200, 400, 800, 1600, 3200), 256  # smaller ones are off the law
LARGER = 64, 6400  # width and steps of a run of four times the FLOPs of the largest one
KEPT = {str: {"params": int, "tokens": [int], "losses": [float]}}  # what a points.json holds


class Facts:
    """A table of facts: a first name and a last name have a value. A model reads two names, and says it.

    Some facts are told far more often than others, and all of them sometimes wrongly, with a random value. So
    the lowest possible loss is known: `floor`, in nats.
    """

    def __init__(self, seed: int = 0):
        rng, places = Random(seed, "facts"), np.arange(NAMES**2)
        self.values = rng.integers(NAMES, len(places))
        shares = (1.0 + places) ** -ZIPF / np.sum((1.0 + places) ** -ZIPF)
        self.shares = shares[np.argsort(rng.uniform(len(places)))]
        self.names = np.stack([places // NAMES, NAMES + places % NAMES], axis=1).astype(np.int32)
        self.truth = np.full((len(places), 2 * NAMES), 0.0)  # how likely each token is told after the names
        self.truth[:, :NAMES] = NOISE / NAMES
        self.truth[places, self.values] += 1 - NOISE
        told = self.truth[0][self.truth[0] > 0]
        self.floor = float(-(told * np.log(told)).sum())

    def batch(self, seed: int, step: int) -> Batch:
        """Draw facts (BATCH, 2); only the value after both names is a target."""
        which, wrong, value = Random(seed, "facts", step).uniform((3, BATCH))
        drawn = np.minimum(np.searchsorted(np.cumsum(self.shares), which), len(self.shares) - 1)
        said = np.where(wrong < NOISE, (NAMES * value).astype(int), self.values[drawn])
        return Batch(self.names[drawn], np.stack([np.full(BATCH, IGNORED), said], axis=1).astype(np.int32))

    def loss(self, model: Any) -> float:
        """Return the exact expected loss: over all facts and values, not a sample of them."""
        scores = model.eval()(self.names).data[:, 1].astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        nll = np.log(np.exp(scores).sum(axis=1, keepdims=True)) - scores
        return float(self.shares @ (self.truth * nll).sum(axis=1))


def measure(facts: Facts, width: int, steps: int, seed: int) -> dict[str, Any]:
    """Train a model -> its params; and, at each of STEPS and at the end, facts read so far and the loss.

    Only at the end is the learning rate 0: the losses before are higher than those of shorter runs.
    """
    model = build(LlamaConfig(vocab_size=2 * NAMES, context=2, layers=1, width=width, heads=1,
                              hidden=3 * width, init_std=width**-0.5, embed_std=1.0), seed=seed)
    config = TrainConfig(steps=steps, batch=BATCH, lr=1.5e-2, min_lr_ratio=0.0, weight_decay=0.0)
    loop = loop_of(config, model, lambda step: facts.batch(seed, step), next_token, seed)
    done = (event.step for event in loop if isinstance(event, events.Stepped))
    found = [(step * BATCH, facts.loss(model)) for step in done if step in {*STEPS, steps}]
    tokens, losses = map(list, zip(*found, strict=True))
    return {"params": model.num_parameters(), "tokens": tokens, "losses": losses}


def last(run: dict[str, Any]) -> tuple[int, int, float]:
    """Return params, tokens and loss at the end of a run."""
    return run["params"], run["tokens"][-1], run["losses"][-1]


def fit_law(points: Any, floor: bool = True, start: Any = None) -> np.ndarray:
    """Fit a scaling law to runs (R, 3), of params, tokens and loss each -> E, A, alpha, B, beta.

    It has the least `ops.scaling_error` that is found from a grid of starts, or from the law `start`. Without
    `floor`, E is 0. (Hoffmann et al. 2022, appendix D.3; here by Levenberg-Marquardt with Huber's weights.)
    """
    params, tokens, losses = np.asarray(points, np.float64).T
    N, D, L = (np.exp(np.log(x).mean()) for x in (params, tokens, losses))  # units, which the end undoes
    n, d = params / N, tokens / D
    if start is None:
        parts, powers = (0.05, 0.5), (0.2, 0.5, 1.0)
        starts = itertools.product((0.3, 0.8) if floor else (0.0,), parts, powers, parts, powers)
        laws = [descend(np.array(s) * [L, L, 1, L, 1], n, d, losses) for s in starts]
    else:
        laws = [descend(np.array(start) * [1, N ** -start[2], 1, D ** -start[4], 1], n, d, losses)]
    E, A, alpha, B, beta = min(laws, key=lambda law: ops.scaling_error(law, n, d, losses))
    return np.array([E, A * N**alpha, alpha, B * D**beta, beta])


def descend(law: np.ndarray, n: np.ndarray, d: np.ndarray, losses: np.ndarray, delta: float = 1e-3
            ) -> np.ndarray:
    """Improve a law step by step; E, A and B change by factors, so that they stay positive."""
    error, damping = ops.scaling_error(law, n, d, losses, delta), 1e-2
    for _ in range(100):
        E, A, alpha, B, beta = law
        terms = np.stack([np.full_like(n, E), A * n**-alpha, B * d**-beta])
        p, q, r = terms / terms.sum(axis=0)
        away = np.log(terms.sum(axis=0) / losses)
        slopes = np.stack([p, q, -np.log(n) * q, r, -np.log(d) * r])
        weighted = slopes * np.minimum(1, delta / np.maximum(np.abs(away), 1e-12))
        curvature = weighted @ slopes.T
        curvature += damping * np.diag(np.diag(curvature) + 1e-12)
        step = np.clip(np.linalg.solve(curvature, -weighted @ away), -1, 1)
        new = np.where([1, 1, 0, 1, 0], law * np.exp(step), law + step)
        better = (found := ops.scaling_error(new, n, d, losses, delta)) < error
        law, error, damping = (new, found, damping / 4) if better else (law, error, damping * 4)
        if damping > 1e8:
            break
    return law


def intervals(points: Any, law: Any, numbers: Callable[[Any], Any], draws: int = 100
              ) -> np.ndarray:
    """Return the 95 % bootstrap intervals (2, ...) of `numbers(law)`.

    Each draw takes some of the runs several times and others never, and fits again, starting from `law`.
    """
    points, floor = np.asarray(points, np.float64), law[0] > 0
    drawn = Random(0, "bootstrap").integers(len(points), (draws, len(points)))
    found = [numbers(fit_law(points[which], floor, law)) for which in drawn]
    return np.quantile(found, (0.025, 0.975), axis=0)


def predicted_loss(law: Any, params: Any, tokens: Any) -> Any:
    """Return the loss that a law predicts."""
    E, A, alpha, B, beta = law
    return E + A / params**alpha + B / tokens**beta


def read_points(path: str) -> np.ndarray:
    """Read runs (R, 3) from a text file with params, tokens and loss on each line; # begins a comment.

    Raises UserError when the file is missing or has other lines, and for fewer than three sizes or budgets.
    """
    lines = [line.split(",") for line in read_text(path).splitlines() if line.strip() and line[0] != "#"]
    try:
        points = np.array(lines, np.float64)
    except ValueError as error:
        raise UserError(f"{path} needs params, tokens and loss on each line: {error}") from None
    if points.ndim != 2 or points.shape[1] != 3 or not np.all((points > 0) & np.isfinite(points)):
        raise UserError(f"{path} needs params, tokens and loss on each line, all above 0")
    if (n := min(len({*column}) for column in points.T[:2].round(3).tolist())) < 3:
        raise UserError(f"{path} has {n} different sizes or budgets: a law needs at least 3, better 5")
    return points


def isoflop(points: Any, flops: Any) -> list[tuple[float, float]]:
    """Find the best size for each number of FLOPs C without a law: the lowest point of a parabola.

    points (R, 3): params N, tokens D and losses -> (C, N) for each C at which at least four sizes have runs
    with more and with fewer tokens than C / 6 N, and the parabola has its lowest point between these sizes.
    Between two runs of a size, ln L is a line over ln D. (Hoffmann et al. 2022, approach 2.)
    """
    logs, found = np.log(np.asarray(points, np.float64)), []
    logs[:, 0] = logs[:, 0].round(2)  # sizes read from a picture differ in their last digits
    for C in flops:
        curve = []
        for n in np.unique(logs[:, 0]):
            _, d, losses = logs[logs[:, 0] == n][np.argsort(logs[logs[:, 0] == n][:, 1])].T
            if d[0] <= (wanted := np.log(C / 6) - n) <= d[-1]:
                curve.append((n, np.interp(wanted, d, losses)))
        if len(curve) >= 4:
            x, y = np.array(curve).T
            bend, slope, _ = np.polyfit(x, y, 2)
            lowest = -slope / (2 * bend)
            if bend > 0 and curve[0][0] < lowest < curve[-1][0]:
                found.append((float(C), float(np.exp(lowest))))
    return found
