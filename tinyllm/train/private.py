"""Train with differential privacy (DP-SGD): what one example changes in the weights, noise hides.

A step draws each example with one probability, clips the gradient of each, and adds noise to their sum (Abadi
et al., "Deep learning with differential privacy", 2016).
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.nn.layers import Embedding, Head, LayerNorm, Matrix, RMSNorm
from tinyllm.nn.lora import LoRALinear
from tinyllm.nn.passes import around
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, as_array, plus, record
from tinyllm.train.loop import piece_gradients

ORDERS = np.array([1 + i / 10 for i in range(1, 100)] + [*range(11, 64), 128, 256, 512, 1024])
NOISE = {"min": 0.2, "max": 1e4}
MIXED = ("private training has no gradient of {} for each example: its layer mixes the rows of a batch, or "
         "has no rule in train/private.py; train another model, or an adapter (lora.rank)")


@dataclass(frozen=True)
class PrivateConfig:
    """The settings of differential privacy."""

    epsilon: float = setting(0.0, help="most that one example may matter; 0: not private", min=0)
    delta: float | None = setting(None, help="chance that it matters more; none: 0.1 / examples", above=0)
    clip: float = setting(1.0, help="the longest gradient of one example", above=0)
    noise: float | None = setting(None, help="noise on a sum of gradients, in clips; none: found", **NOISE)

    def __post_init__(self):
        check(self, "private.")


@dataclass
class Private:
    """Clip and noise the gradients of a loop: the settings, the chance of an example, the mean batch."""

    settings: PrivateConfig
    share: float
    batch: int
    used: frozenset[str] = frozenset()  # names of the parameters that the loss depends on, from `examine`

    @cached_property
    def rdp(self) -> np.ndarray:
        """Return the Renyi divergence of one step for each of ORDERS."""
        noise = self.settings.noise
        return np.array([ops.sampled_gaussian_rdp(a, self.share, noise) for a in ORDERS.tolist()])

    def spent(self, steps: int) -> float:
        """Return the epsilon of a number of steps."""
        return ops.rdp_epsilon(steps * self.rdp, ORDERS, self.settings.delta)

    def check_budget(self, steps: int, before: Callable[[], None] = lambda: None) -> None:
        """If so many steps spend more than epsilon, call `before` and raise UserError."""
        if self.spent(steps) > self.settings.epsilon:
            before()
            raise UserError(f"private.epsilon={self.settings.epsilon:g} is spent after {steps - 1} steps: "
                            "more steps need a new run, with a larger epsilon or with all its steps planned")

    def guarantee(self) -> str:
        """Return in one sentence what is promised, and what is not."""
        budget = f"({self.settings.epsilon:g}, {self.settings.delta:g})"
        return (f"the weights are {budget}-differentially private for each example, added or left out; not "
                "private are tokenizer, log and samples, what a start or teacher has learnt, and anything "
                "for those who know the seed, which decides the noise")

    def piece_gradients(self, model: Any, piece: Any, loss: Callable, share: float) -> tuple[float, dict]:
        """Add the sum of the examples' clipped gradients to the parameters; return loss and numbers."""
        found, scale, result = example_gradients(model, piece, loss, share)
        norms = scale * np.sqrt(sum(squares for squares, _ in found.values()))
        weights = (scale * ops.clip_factors(norms, self.settings.clip)).astype(np.float32)
        for p, (_, total) in found.items():
            p.grad = total(weights) if p.grad is None else plus(p.grad, total(weights))
        return result

    def finish(self, model: Any, *key: Any) -> None:
        """Add noise, which the key decides, to the sum of clipped gradients; divide by the mean batch."""
        size = (self.settings.noise or 0.0) * self.settings.clip
        for name, p in model.named_parameters():
            if name in self.used:
                noise = size * gaussian(Random(*key, "noise", name), p.shape)
                p.grad = ((noise if p.grad is None else p.grad + noise) / self.batch).astype(p.dtype)

    def examine(self, model: Any, pair: Any, loss: Callable) -> None:
        """Remember which parameters the loss uses; compare gradients with those of each example alone.

        pair: a batch of two examples. Raises UserError for a parameter whose gradients differ.
        """
        model.eval()  # without dropout
        found, scale, _ = example_gradients(model, pair, loss, 1.0)
        named = {p: name for name, p in model.named_parameters() if p.requires_grad}
        found = {p: each for p, each in found.items() if p.grad is None}  # else used elsewhere, too
        for p in named:
            p.grad = None
        for i in range(len(pair.tokens)):
            piece_gradients(model, pair.rows(slice(i, i + 1)), loss, 1.0)
            alone = {p: float(np.linalg.norm(p.grad)) for p in named if p.grad is not None}
            for p, norm in alone.items():
                p.grad, near = None, 1e-3 * norm + 1e-4 * max(alone.values())
                if p not in found or not abs(scale[i] * math.sqrt(found[p][0][i]) - norm) <= near:
                    raise UserError(MIXED.format(named[p]))
            self.used |= {named[p] for p in alone}


def private_plan(config: PrivateConfig, examples: int, batch: int, steps: int) -> Private:
    """Complete settings by a delta, and by the least noise with which all steps spend at most epsilon.

    Raises UserError when delta promises nothing, or when even much noise spends more.
    """
    delta, (low, high) = config.delta or 0.1 / examples, NOISE.values()
    if not delta * examples < 1:
        raise UserError(f"private.delta={delta:g} allows to give away one of {examples} examples as it is: "
                        f"give less than {1 / examples:.1g}")

    def trial(noise):
        settings = dataclasses.replace(config, delta=delta, noise=noise)
        return Private(settings, min(1.0, batch / examples), batch)

    while config.noise is None and high > 1.00001 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if trial(middle).spent(steps) <= config.epsilon else (middle, high)
    found = trial(config.noise or high)
    if config.noise is None:
        found.check_budget(steps)
    return found


def gaussian(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Draw numbers of the normal distribution (Box and Muller 1958); `Random.normal` has no tails.

    They are rounded to multiples of 2^-16, so that C libraries that differ in a last bit give the same.
    """
    n = math.prod(shape)
    radius = np.sqrt(-2 * np.log(1 - random.uniform(n // 2 + 1)))
    angle = 2 * np.pi * random.uniform(n // 2 + 1)
    numbers = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:n]
    return np.rint(numbers * 2**16).reshape(shape) * 2.0**-16


def example_gradients(model: Any, batch: Any, loss: Callable, share: float) -> tuple[dict, np.ndarray, tuple]:
    """Find each example's gradient of loss * share, without storing it where it is large.

    -> ({parameter: (squared lengths (B,), function from weights (B,) to the weighted sum)}, scale, (loss,
    numbers)). Times scale (B,), it is the gradient of the example's own mean loss. The gradient of a matrix
    is a^T b: a (T, n) went into the layer, b (T, m) is the gradient of what came out. Its squared length is
    the sum of (a a^T) * (b b^T), a ghost norm (Goodfellow 2015; Li et al., "Large language models can be
    strong differentially private learners", 2022). A small matrix is multiplied out, which is cheaper (Bu et
    al., "Scalable and efficient training", 2022). A tied weight has the a and b of all its uses.
    """
    B = len(batch.tokens)
    counts = np.array([batch.rows(slice(i, i + 1)).count for i in range(B)])
    if batch.weights is None:  # so that the loss drops no target, and each layer sees whole rows
        batch = dataclasses.replace(batch, weights=np.ones(batch.targets.shape, np.float32))
    uses: dict[Any, list] = defaultdict(list)
    hooked = [(layer, layer.hooks) for layer in model.of_kind((*RULES,)).values()]
    for layer, _ in hooked:
        if own := {*layer.parameters(trainable=True)}:
            around(layer, partial(_record_uses, uses, own))
    try:
        result = piece_gradients(model, batch, loss, share)
    finally:
        for layer, hooks in hooked:
            layer.hooks = hooks
    found = {p: _lengths_and_sum(B, p, each) for p, each in uses.items()}
    return found, np.divide(counts.sum() / share, counts, out=np.zeros(B), where=counts > 0), result


def _lengths_and_sum(examples, p, uses):
    try:
        rows = [[x.reshape(examples, -1, x.shape[-1]) for x in each] for each in zip(*uses, strict=True)]
    except ValueError:
        raise UserError(MIXED.format(p.name)) from None
    a, b = (np.concatenate(each, axis=1) if len(each) > 1 else each[0] for each in rows)
    if 32 * p.data.size <= a.shape[1] ** 2 * (a.shape[2] + b.shape[2]):
        whole = ops.matmul(a, b, transpose_a=True).reshape(examples, -1)
        squares = np.square(whole).sum(axis=1, dtype=np.float64)
        return squares, lambda weights: ops.matmul(weights[None], whole).reshape(p.shape)
    grams = (ops.matmul(x, x, transpose_b=True) for x in (a, b))
    squares = np.multiply(*grams).sum(axis=(1, 2), dtype=np.float64)
    rows = a.reshape(-1, a.shape[-1])
    return squares, lambda weights: ops.matmul(rows, (b * weights[:, None, None]).reshape(len(rows), -1),
                                               transpose_a=True).reshape(p.shape)


def _record_uses(uses, own, call, layer, x):
    """Run a layer; in the backward pass, record the factors of its gradients, and compute no gradient."""
    for p in own:
        p.requires_grad = False
    try:
        y = call(x)
    finally:
        for p in own:
            p.requires_grad = True
    rule = next(rule for kind, rule in RULES.items() if isinstance(layer, kind))

    def backward(dy):
        for p, a, b in rule(layer, as_array(x), dy):
            if p in own:
                uses[p].append((a, b))
        return (dy,)

    return record(y.data, (y if y.requires_grad else Tensor(y.data, True),), backward, lambda: y.data)


def _ones(x):
    return np.ones((*x.shape[:-1], 1), x.dtype)


def _of_linear(layer, x, dy):
    return (layer.weight, x, dy), (layer.bias, _ones(dy), dy)


def _of_embedding(layer, ids, dy):
    one_hot = np.asarray(ids)[..., None] == np.arange(len(layer.weight.data))
    return ((layer.weight, one_hot.astype(dy.dtype), dy),)


def _of_norm(layer, x, dy):
    zeros = [np.zeros_like(layer.weight.data)] * isinstance(layer, LayerNorm)
    op, ones = ops.layernorm if zeros else ops.rmsnorm, np.ones_like(layer.weight.data)
    normed = op(x, ones, *zeros, layer.eps)[0]
    return (layer.weight, _ones(dy), normed * dy), (getattr(layer, "bias", None), _ones(dy), dy)


def _of_adapter(layer, x, dy):
    a, b, dy = layer.lora_A.weight, layer.lora_B.weight, dy * np.float32(layer.alpha / layer.rank)
    return (a, x, ops.matmul(dy, b.data, transpose_b=True)), (b, ops.matmul(x, a.data), dy)


RULES: dict[type, Callable] = {  # layer -> function of layer, input, gradient of output -> (parameter, a, b)
    Matrix: _of_linear, Head: lambda layer, x, dy: ((layer.weight, dy, x),), Embedding: _of_embedding,
    LayerNorm: _of_norm, RMSNorm: _of_norm, LoRALinear: _of_adapter}
