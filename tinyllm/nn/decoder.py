"""DecoderLM: the base of all models that read tokens from left to right and score the next one."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import tinyllm.functional as F
from tinyllm.errors import UserError
from tinyllm.nn.attention import Attention
from tinyllm.nn.cache import KVCache
from tinyllm.nn.layers import Embedding, Head
from tinyllm.nn.module import Module, full, init_normal
from tinyllm.nn.passes import fuse, recompute
from tinyllm.ops.loss import IGNORED
from tinyllm.tensor import Tensor

Cache = list[KVCache] | None


class DecoderLM(Module):
    """A model that reads tokens and scores every possible next one: tokens (B, T) -> logits (B, T, V).

    A subclass makes the modules, among them `lm_head`, and defines two methods: `embed(tokens, positions)`
    turns ids into vectors (B, T, C), and `body(x, positions, cache)` runs the blocks and the last norm. Its
    `config` has at least vocab_size, context, layers and width.
    """

    config: Any
    lm_head: Any
    residual_outputs: tuple[str, ...]  # ends of the names of weights that write to the residual stream
    generate: Callable[..., Any]  # `tl.generate` as a method, and `tl.stream`: tinyllm/generate.py sets both
    stream: Callable[..., Any]

    def embed(self, tokens: np.ndarray, positions: np.ndarray) -> Tensor:
        """Return the vectors of tokens: tokens (B, T), positions (B, T) -> (B, T, C)."""
        raise NotImplementedError

    def body(self, x: Tensor, positions: np.ndarray, cache: Cache = None, **where: Any) -> Tensor:
        """Run the blocks and the last norm: x (B, T, C), positions (B, T) -> (B, T, C).

        `where` is passed on to `F.attention`: bias, starts, ends.
        """
        raise NotImplementedError

    def finish(self, seed: int | None) -> None:
        """Finish a new model: fill its matrices with normal numbers, and apply `fuse` and `recompute`.

        With `seed=None` the matrices stay zero. The standard deviation is `config.init_std`, or 0.02. For the
        2 * layers weights that write to the residual stream it is divided by sqrt(2 * layers), so that the
        stream does not grow (Radford et al. 2019, section 2.3).
        """
        std = 0.02 if self.config.init_std is None else self.config.init_std
        if seed is not None:
            narrow = std / (2 * self.config.layers) ** 0.5
            init_normal(self, seed, lambda name: narrow if name.endswith(self.residual_outputs) else std)
            self.dropout_stream(seed, 0)
        else:
            for p in self.parameters():
                p.data = full(p.shape) if p.ndim >= 2 else p.data
        recompute(fuse(self))

    def __call__(self, tokens: ArrayLike, cache: Cache = None, **where: Any) -> Tensor:
        """Score every possible next token after every position.

        tokens (B, T) or (T,), ints -> logits (B, T, V). With a cache, the tokens continue the cached ones.
        `where` is passed on to `F.attention` in every block: `starts` separates packed documents, `ends` lets
        the tokens of a prefix see each other. Raises UserError when there are no tokens, too many for the
        context, or ids outside the vocabulary.
        """
        return self.head(self.hidden(tokens, cache, **where))

    def hidden(self, tokens: ArrayLike, cache: Cache = None, **where: Any) -> Tensor:
        """Run the model without its output layer: tokens (B, T) or (T,), ints -> (B, T, C).

        Decoding then calls `head` on the last position only. Raises UserError as calling the model does.
        """
        tokens = check_tokens(tokens, self.config.vocab_size)
        positions = positions_of(tokens, cache, self.config.context)
        return self.body(self.embed(tokens, positions), positions, cache, **where)

    def head(self, x: Tensor) -> Tensor:
        """Apply the output layer to the result of `hidden`: x (..., C) -> logits (..., V)."""
        return self.lm_head(x)

    def loss(self, tokens: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None,
             **where: Any) -> Tensor:  # fmt: skip
        """Return the mean cross-entropy of the targets in nats; with `weights`, the weighted mean.

        tokens, targets, weights (B, T) -> (). Targets of -100 are ignored. A uniform guess has the loss ln V.
        Raises ValueError when targets or weights differ in shape from tokens, or a weight is negative.
        """
        if weights is not None:
            losses = self.token_losses(tokens, targets, **where)
            w = check_targets(weights, losses.shape, "weights").astype(np.float32)
            if (w < 0).any():
                raise ValueError(f"weights must be at least 0, got {w.min()}: multiply token_losses instead")
            w *= np.atleast_2d(targets) != IGNORED
            return (losses * w).sum() / float(max(w.sum(), 1e-20))
        x = self.hidden(tokens, **where)
        targets = check_targets(targets, x.shape[:2])
        if type(self.lm_head) is not Head:  # quantized or tapped
            return F.cross_entropy(self.lm_head(x), targets)
        return F.linear_cross_entropy(x, self.lm_head.weight, targets)  # never stores all logits

    def token_losses(self, tokens: ArrayLike, targets: ArrayLike, **where: Any) -> Tensor:
        """Return the cross-entropy of every target: tokens, targets (B, T) -> nats (B, T).

        Ignored targets (-100) get 0. `loss` is the mean over the other targets.
        """
        x = self.hidden(tokens, **where)
        targets = check_targets(targets, x.shape[:2])
        if type(self.lm_head) is not Head:
            return F.token_losses(self.lm_head(x), targets)
        return F.linear_token_losses(x, self.lm_head.weight, targets)

    def log_probs(self, tokens: ArrayLike, targets: ArrayLike, **where: Any) -> Tensor:
        """Return the log-probability of every target, -token_losses: tokens, targets (B, T) -> (B, T)."""
        return -self.token_losses(tokens, targets, **where)

    def new_cache(self, batch: int = 1, length: int | None = None) -> list[KVCache]:
        """Return an empty KV cache for `batch` rows of up to `length` tokens: one KVCache for each block.

        Without a length, each row has room for the whole context. Raises UserError unless every block has one
        `nn.Attention`; a model of other blocks overrides this method.
        """
        c = self.config
        dtype = next(m for _, m in self.named_modules() if isinstance(m, Embedding)).weight.dtype
        room = c.context if length is None else min(length, c.context)
        parts = [m for _, m in self.named_modules() if isinstance(m, Attention)]
        if len(parts) != c.layers:
            raise UserError(f"{len(parts)} nn.Attention in {c.layers} layers: override new_cache")
        return [KVCache(batch, room, part.kv_heads, part.head_width, dtype) for part in parts]


def check_tokens(tokens: ArrayLike, vocab_size: int) -> np.ndarray:
    """Check token ids and return them as an array: (B, T) or (T,), ints -> (B, T).

    Raises UserError when there are none, or one is outside the vocabulary; TypeError when they are not whole
    numbers.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim == 1:
        tokens = tokens[None]
    if tokens.ndim != 2 or tokens.size == 0:
        raise UserError(f"tokens must be (B, T) or (T,) with at least one token, got shape {tokens.shape}")
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"tokens must be whole numbers, got an array of {tokens.dtype}")
    for worst in (tokens.min(), tokens.max()):
        if not 0 <= worst < vocab_size:
            raise UserError(f"token {worst} is outside of the model's vocabulary of {vocab_size}")
    return tokens


def positions_of(tokens: np.ndarray, cache: list[KVCache] | None, context: int) -> np.ndarray:
    """Return the position of each token: tokens (B, T), a list of KVCache or None -> int64 (B, T).

    They continue after the cached positions. Raises UserError when they exceed the context.
    """
    past = cache[0].lengths if cache else np.zeros(len(tokens), np.int64)
    positions = past[:, None] + np.arange(tokens.shape[1])
    total = positions.max() + 1
    if total > context:
        raise UserError(f"{total} tokens exceed the model's context of {context}: give fewer at a time")
    return positions


def check_targets(targets: ArrayLike, tokens_shape: tuple[int, ...], name: str = "targets") -> np.ndarray:
    """Return targets as an array (B, T). Raises ValueError unless they have the shape of the tokens."""
    targets = np.atleast_2d(targets)
    if targets.shape != tuple(tokens_shape):
        raise ValueError(f"{name} {targets.shape} must have the shape of tokens {tuple(tokens_shape)}")
    return targets
