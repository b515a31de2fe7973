"""Train with differential privacy (DP-SGD): noise hides what one example changes in the weights.

A step draws each example with one probability, clips the gradient of each, and adds noise to their sum (Abadi
et al., "Deep learning with differential privacy", 2016).
"""

import dataclasses
import math
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import shake_128
from statistics import NormalDist
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.config import check, setting
from tinyllm.errors import UserError
from tinyllm.nn.layers import Embedding, Head, LayerNorm, Matrix, RMSNorm
from tinyllm.nn.lora import LoRALinear
from tinyllm.nn.passes import hooked
from tinyllm.ops.runtime import threads
from tinyllm.rng import Random
from tinyllm.tensor import Tensor, as_array, plus, record
from tinyllm.train.loop import piece_gradients

# The orders of Renyi divergence that dp-accounting takes, too; more would find a slightly smaller epsilon.
ORDERS = np.array([1 + i / 10 for i in range(1, 100)] + [*range(11, 64), 128, 256, 512, 1024])
NOISE, SEED = {"min": 0.2, "max": 1e4}, {"min": 0, "max": 2**128 - 1}
ROTATION = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32) / 2
MIXED = ("private training has no gradient of {} for each example: its layer mixes the rows of a batch, or "
         "has no rule in runs/private.py; train another model, or an adapter (lora.rank)")


@dataclass(frozen=True)
class PrivateConfig:
    """The settings of differential privacy."""

    epsilon: float = setting(0.0, help="most that one example may matter; 0: not private", min=0)
    delta: float | None = setting(None, help="chance that it matters more; none: 0.1 / examples", above=0)
    clip: float = setting(1.0, help="the longest gradient of one example", above=0)
    noise: float | None = setting(None, help="noise on a sum of gradients, in clips; none: found", **NOISE)
    seed: int | None = setting(None, help="of noise and draws, for experiments; none: secret", **SEED)

    def __post_init__(self):
        check(self, "private.")
        if not self.epsilon and (self.noise or self.delta):
            raise UserError("private.epsilon=0 trains without privacy, and so without private.noise and "
                            "private.delta: give private.epsilon=8, for example")


class Hidden(Random):
    """A stream of random numbers, of which none tells anything about the others; draw from it once.

    The numbers of `Random` are quick, but one of them tells all that follow.
    """

    def __init__(self, *key: int | str):
        self.hash = shake_128(repr(key).encode())

    def bits(self, size: Any = None) -> Any:
        """Draw an array of 64 random bits each (size,)."""
        return np.frombuffer(self.hash.digest(8 * size), "<u8").astype(np.uint64)


class Secret:
    """The seed of a training's draws and noise: a given one, or one from the operating system.

    Who knows it can take the noise away. So it stands only in checkpoints, in private.safetensors. Clients of
    a federation share a seed, with a `prefix` of their own.
    """

    def __init__(self, given: int | None = None, *prefix: int | str):
        self.given, self.prefix = given, prefix
        seed = secrets.randbits(128) if given is None else given
        self.seed = np.array([*seed.to_bytes(16, "little")], np.uint8)

    def draw(self, *key: int | str) -> Random:
        """Return the stream of random numbers with a key."""
        if self.given is None:
            return Hidden(self.seed.tobytes().hex(), *self.prefix, *key)
        return Random(self.given, *self.prefix, *key)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the seed, 16 bytes."""
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Take over a seed that `state_dict` returned."""
        self.seed[:] = state["seed"]


@dataclass
class Private:
    """Clip and noise the gradients of a loop: the settings, the chance of an example, the mean batch."""

    settings: PrivateConfig
    share: float
    batch: int
    used: frozenset[str] = frozenset()  # names of the parameters that the loss depends on, from `examine`
    secret: Secret = field(default_factory=Secret)

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
        given = self.settings.seed is not None
        known = "know private.seed" if given else "have private.safetensors of a checkpoint"
        return (f"the weights are {budget}-differentially private for each example, added or left out (for "
                "what k examples tell, epsilon is k times that); not private are tokenizer, log and samples, "
                f"what a start or teacher has learnt, and anything for those who {known}, which decides the "
                "noise")

    def piece_gradients(self, model: Any, piece: Any, loss: Callable, share: float) -> tuple[float, dict]:
        """Add the sum of the examples' clipped gradients to the parameters; return loss and numbers."""
        factors, scale, result = example_gradients(model, piece, loss, share)
        norms = scale * np.sqrt(sum(on_threads(squared_norms, factors.values())))
        weights = (scale * ops.clip_factors(norms, self.settings.clip)).astype(np.float32)[:, None, None]

        def add_gradient(p, a, b):
            a, b = (a * weights, b) if a.size < b.size else (a, b * weights)
            total = ops.matmul(a.reshape(-1, a.shape[2]), b.reshape(-1, b.shape[2]), transpose_a=True)
            p.grad = total.reshape(p.shape) if p.grad is None else plus(p.grad, total.reshape(p.shape))

        on_threads(add_gradient, [(p, *each) for p, each in factors.items()])
        return result

    def finish(self, model: Any, *key: Any) -> None:
        """Add noise, which the secret decides, to the sum of clipped gradients; divide by the mean batch."""
        size = np.float32(self.settings.clip * (self.settings.noise or 0.0))

        def add_noise(name, p):
            numbers = gaussian(self.secret.draw(*key, "noise", name), p.shape)
            numbers *= size
            numbers += 0.0 if p.grad is None else p.grad
            p.grad = numbers / np.float32(self.batch)

        on_threads(add_noise, [(name, p) for name, p in model.named_parameters()
                               if name in self.used or p.grad is not None])

    def examine(self, model: Any, pair: Any, loss: Callable) -> None:
        """Remember which parameters the loss uses; compare gradients with those of each example alone.

        pair: a batch of two examples. Raises UserError for a parameter whose gradients differ.
        """
        factors, scale, _ = example_gradients(model.eval(), pair, loss, 1.0)  # without dropout
        squares = {p: squared_norms(*each) for p, each in factors.items()}
        named = {p: name for name, p in model.named_parameters() if p.requires_grad}
        for i in range(len(scale)):
            piece_gradients(model, pair.rows(slice(i, i + 1)), loss, 1.0)
            alone = {p: float(np.linalg.norm(p.grad)) for p in named if p.grad is not None}
            for p, norm in alone.items():
                p.grad, near = None, 1e-3 * norm + 1e-4 * max(alone.values())
                if p not in squares or not abs(scale[i] * math.sqrt(squares[p][i]) - norm) <= near:
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

    def with_noise(noise):
        settings = dataclasses.replace(config, delta=delta, noise=noise)
        return Private(settings, min(1.0, batch / examples), min(batch, examples))

    if config.noise:
        return with_noise(config.noise)
    while high > 1.00001 * low:
        middle = math.sqrt(low * high)
        enough = with_noise(middle).spent(steps) <= config.epsilon
        low, high = (low, middle) if enough else (middle, high)
    found = with_noise(high)
    found.check_budget(steps)
    return found


def on_threads(fn: Callable, calls: Iterable[tuple]) -> list[Any]:
    """Call a function with each tuple of arguments, on as many threads as kernels have -> the results."""
    if threads() == 1:
        return [fn(*args) for args in calls]
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(lambda args: fn(*args), calls))


@cache
def _quantiles():
    """Return 2^16 quantiles of the normal distribution, rounded so that sums of four are exact."""
    found = map(NormalDist().inv_cdf, (np.arange(2**16) + 0.5) / 2**16)
    return (np.rint(2**15 * np.array([*found])) / 2**15).astype(np.float32)


def gaussian(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Draw float32 numbers of the normal distribution; `Random.normal` has no tails.

    Four of its 2^16 quantiles are drawn and rotated, which makes four numbers that are as normal, and reach
    8.6 standard deviations. All sums are exact, so the bits are the same everywhere.
    """
    n = math.prod(shape)
    four = _quantiles()[random.bits(-(-n // 4)).view(np.uint16).reshape(4, -1)]
    return ops.matmul(ROTATION, four).reshape(-1)[:n].reshape(shape)


def example_gradients(model: Any, batch: Any, loss: Callable, share: float) -> tuple[dict, np.ndarray, tuple]:
    """Find each example's gradient of loss * share, as two factors.

    -> ({parameter: (a (B, T, n), b (B, T, m))}, scale (B,), (loss, numbers)). The gradient of example i is
    a[i]^T b[i]: what went into a matrix, and the gradient of what came out. Times scale[i], it is the
    gradient of the example's own mean loss. A tied weight has the a and b of all its uses.
    """
    B, uses, learnt = len(batch.tokens), defaultdict(list), {*model.parameters(trainable=True)}
    counts = np.array([batch.rows(slice(i, i + 1)).count for i in range(B)])
    if batch.weights is None:  # so that the loss drops no target, and each layer sees whole rows
        batch = dataclasses.replace(batch, weights=np.ones(batch.targets.shape, np.float32))

    def record_use(call, layer, x):
        own, y = learnt.intersection(layer.parameters()), call(x)
        rule = next(rule for kind, rule in RULES.items() if isinstance(layer, kind))

        def backward(dy):
            for p, a, b in rule(layer, as_array(x), dy, np.ones((*dy.shape[:-1], 1), dy.dtype)):
                if p in own:
                    uses[p].append((a, b))
            return (dy,)

        start = y if y.requires_grad or not own else Tensor(y.data, True)
        return record(y.data, (start,), backward, lambda: y.data) if own else y

    try:
        for p in learnt:
            p.requires_grad = False  # so that no factors are multiplied
        with hooked(model.of_kind((*RULES,)).values(), record_use):
            result = piece_gradients(model, batch, loss, share)
    finally:
        for p in learnt:
            p.requires_grad = True
    factors = {p: _joined(B, p, *zip(*each, strict=True)) for p, each in uses.items()}
    return factors, np.divide(counts.sum() / share, counts, out=np.zeros(B), where=counts > 0), result


def _joined(examples, p, *factors):
    """Join the factors a and b of all uses of a parameter; multiply those of a small matrix: it is cheaper.

    -> a (B, T, n) and b (B, T, m), or ones (B, 1, 1) and all products (B, 1, n m). (Bu et al., "Scalable and
    efficient training of large convolutional neural networks with differential privacy", 2022.)
    """
    if any(len(x) % examples for x in factors[0]):
        raise UserError(MIXED.format(p.name))
    rows = ([x.reshape(examples, -1, x.shape[-1]) for x in each] for each in factors)
    a, b = (np.concatenate(each, axis=1) if len(each) > 1 else each[0] for each in rows)
    if 32 * p.data.size > a.shape[1] ** 2 * (a.shape[2] + b.shape[2]):
        return a, b
    product = ops.matmul(a, b, transpose_a=True)
    return np.ones((examples, 1, 1), np.float32), product.reshape(examples, 1, -1)


def squared_norms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared length of each example's gradient a[i]^T b[i] -> (B,).

    It is the sum of (a[i] a[i]^T) * (b[i] b[i]^T), a *ghost norm*, as the product is never stored.
    (Goodfellow, "Efficient per-example gradient computations", 2015; Li et al., "Large language models
    can be strong differentially private learners", 2022.)
    """
    if a.shape[1] == 1:
        return np.square(a).sum(axis=(1, 2)) * np.square(b).sum(axis=(1, 2))
    return (ops.matmul(a, a, transpose_b=True) * ops.matmul(b, b, transpose_b=True)).sum(axis=(1, 2))


def _of_linear(layer, x, dy, ones):
    return (layer.weight, x, dy), (layer.bias, ones, dy)


def _of_embedding(layer, ids, dy, ones):
    one_hot = np.asarray(ids)[..., None] == np.arange(len(layer.weight.data))
    return ((layer.weight, one_hot.astype(dy.dtype), dy),)


def _of_norm(layer, x, dy, ones):
    one, zero = np.ones_like(layer.weight.data), np.zeros_like(layer.weight.data)
    centred = isinstance(layer, LayerNorm)
    normed, *_ = ops.layernorm(x, one, zero, layer.eps) if centred else ops.rmsnorm(x, one, layer.eps)
    return (layer.weight, ones, normed * dy), (getattr(layer, "bias", None), ones, dy)


def _of_adapter(layer, x, dy, ones):
    a, b, dy = layer.lora_A.weight, layer.lora_B.weight, dy * np.float32(layer.alpha / layer.rank)
    return (a, x, ops.matmul(dy, b.data, transpose_b=True)), (b, ops.matmul(x, a.data), dy)


RULES: dict[type, Callable] = {  # layer -> function of layer, x, dy and ones -> (parameter, a, b)
    Matrix: _of_linear, Head: lambda layer, x, dy, ones: ((layer.weight, dy, x),),
    Embedding: _of_embedding, LayerNorm: _of_norm, RMSNorm: _of_norm, LoRALinear: _of_adapter}
