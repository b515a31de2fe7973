"""Define LanguageModel, the base of all models, and DecoderLM, the base of those that continue a text."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

import tinyllm.functional as F
from tinyllm.arrays import ArrayLike
from tinyllm.errors import UserError
from tinyllm.nn.attention import EVERYTHING, Attention, Seen
from tinyllm.nn.cache import KVCache
from tinyllm.nn.init import Normal, Parameter, full, init_normal
from tinyllm.nn.layers import Embedding, Head, plain
from tinyllm.nn.module import Module
from tinyllm.nn.passes import recompute
from tinyllm.ops.loss import IGNORED
from tinyllm.tensor import Tensor

Cache = list[KVCache] | None
SILENT = {  # objective -> why a model of this objective cannot continue a text
    "masked": "fills in masked tokens, and cannot continue a text",
    "scores": "with a layer `score` is a reward model: it scores texts, and writes no text",
}


class LanguageModel(Module):
    """Base of models that score every token at every position: tokens (B, T) -> logits (B, T, V).

    A subclass makes the modules, among them `lm_head`, calls `finish`, and defines `hidden`. The model's
    `config` has at least vocab_size, context, layers and width.
    """

    config: Any
    lm_head: Any
    # Training predicts the next token ("causal"), masked tokens ("masked"), "spans", or "scores" of texts:
    objective = "causal"
    is_encoder_decoder = False  # True if an encoder reads one text and a decoder writes another
    residual_outputs: tuple[str, ...] = ()  # ends of the names of weights that write to the residual stream
    picture_marks: Sequence[int] = []  # the tokens that represent a picture, if the model reads pictures

    @property
    def end_ids(self) -> list[int]:
        """Return the tokens that always end a text: the end token of an encoder-decoder, or []."""
        return []

    @property
    def silent(self) -> str:
        """Return why the model cannot continue a text, as a sentence; "" if it can."""
        why = SILENT.get(self.objective)
        return f"a {type(self).__name__} {why}" if why else ""

    def read(self, sources: Any) -> Any:
        """Read sources, texts or pictures -> a KV cache with a row for each, from which to generate a text.

        An encoder-decoder reads lists of ids, and its text begins with `config.start`. A model that sees
        pictures reads an array of them, and its text begins with `picture_marks`. Raises UserError when the
        model has no such sources, or a source does not fit.
        """
        raise UserError(f"a {type(self).__name__} sees no pictures: give the folder of a model that does")

    def hidden(self, tokens: ArrayLike, *given: Any, **inputs: Any) -> Tensor:
        """Run the model without its output layer: tokens (B, T) or (T,), ints -> (B, T, C)."""
        raise NotImplementedError

    def before_head(self, tokens: ArrayLike, targets: ArrayLike, **inputs: Any) -> Tensor:
        """Return the vectors that `head` scores for each target: tokens, targets (B, T) -> (B, T, C)."""
        return self.hidden(tokens, **inputs)

    def first_std(self, name: str) -> float:
        """Return the standard deviation of a new weight: `config.init_std`, by default 0.02.

        For each of the 2 * layers weights that write to the residual stream, the result is divided by
        sqrt(2 * layers), so that the stream does not grow (Radford et al. 2019, section 2.3).
        """
        std = 0.02 if self.config.init_std is None else self.config.init_std
        return std / (2 * self.config.layers) ** 0.5 if name.endswith(self.residual_outputs) else std

    def finish(self, seed: int | None) -> None:
        """Draw a new model's matrices, or leave them zero with `seed=None`, and apply `recompute`."""
        if seed is not None:
            init_normal(self, seed, self.first_std)
            self.dropout_stream(seed, 0)
        else:
            for p in self.parameters():
                p.data = full(p.shape) if p.ndim >= 2 else p.data
        recompute(self)

    def forward(self, tokens: ArrayLike, *given: Any, **inputs: Any) -> Tensor:
        """Score every token of the vocabulary at every position.

        tokens (B, T) or (T,), ints -> logits (B, T, V). The other arguments go to `hidden`, such as `seen`, a
        `Seen` that limits which tokens each token sees. Raises UserError when there are no tokens, too many
        for the context, or ids outside the vocabulary.
        """
        return self.head(self.hidden(tokens, *given, **inputs))

    def head(self, x: Tensor) -> Tensor:
        """Apply the output layer to the result of `hidden`: x (..., C) -> logits (..., V).

        Raises UserError if the model has no output layer for tokens.
        """
        if self.lm_head is None:
            raise UserError(f"this {type(self).__name__} does not score tokens: it has another task")
        return self.lm_head(x)

    @property
    def _head_weight(self) -> Any:
        """Return the weight of `lm_head` if it is a plain `Head`, whose loss stores no logits, or None."""
        return self.lm_head.weight if plain(self.lm_head, Head) else None

    def loss(self, tokens: ArrayLike, targets: ArrayLike, weights: ArrayLike | None = None,
             **inputs: Any) -> Tensor:
        """Return the mean cross-entropy of the targets in nats; with `weights`, the weighted mean.

        tokens, targets, weights (B, T) -> (). Targets of -100 are ignored. A uniform guess has the loss ln V.
        The other arguments go to `hidden`, such as `seen`. Raises ValueError when targets or weights differ
        in shape from tokens, or a weight is negative.
        """
        if weights is not None:
            losses = self.token_losses(tokens, targets, **inputs)
            w = check_targets(weights, losses.shape, "weights").astype(np.float32)
            if not (w >= 0).all():  # NaN, too
                raise ValueError(f"weights must be at least 0, got {w.min()}: multiply token_losses instead")
            w *= np.atleast_2d(targets) != IGNORED
            return (losses * w).sum() / float(max(w.sum(), 1e-20))
        x = self.before_head(tokens, targets, **inputs)
        targets = check_targets(targets, x.shape[:2])
        if self._head_weight is not None:
            return F.linear_cross_entropy(x, self._head_weight, targets)  # never stores all logits
        counted = np.flatnonzero(targets != IGNORED)  # ignored targets need no logits
        x = F.embedding(x.reshape(-1, x.shape[-1]), counted)
        return F.cross_entropy(self.head(x), targets.flat[counted])

    def token_losses(self, tokens: ArrayLike, targets: ArrayLike, **inputs: Any) -> Tensor:
        """Return the cross-entropy of every target in nats: tokens, targets (B, T) -> (B, T).

        Ignored targets (-100) get 0. `loss` is the mean over the other targets.
        """
        x = self.before_head(tokens, targets, **inputs)
        targets = check_targets(targets, x.shape[:2])
        if self._head_weight is not None:
            return F.linear_token_losses(x, self._head_weight, targets)
        return F.token_losses(self.head(x), targets)

    def log_probs(self, tokens: ArrayLike, targets: ArrayLike, **inputs: Any) -> Tensor:
        """Return the log-probability of every target, 0 if ignored: tokens, targets (B, T) -> (B, T)."""
        return 0 - self.token_losses(tokens, targets, **inputs)


class DecoderLM(LanguageModel):
    """Base of models that score every possible next token: tokens (B, T) -> logits (B, T, V).

    A subclass makes the modules, among them `lm_head`, and defines `embed` and `body`.
    """

    score: Any  # the layer of a reward model: see `replace_head`

    def embed(self, tokens: np.ndarray, positions: np.ndarray) -> Tensor:
        """Turn tokens into vectors: tokens (B, T), positions (B, T) -> (B, T, C)."""
        raise NotImplementedError(f"{type(self).__name__} must define embed")

    def body(self, x: Tensor, positions: np.ndarray, cache: Cache, seen: Seen) -> Tensor:
        """Run the blocks and the last norm: x (B, T, C), positions (B, T) -> (B, T, C)."""
        raise NotImplementedError(f"{type(self).__name__} must define body")

    def hidden(self, tokens: ArrayLike, cache: Cache = None, seen: Seen = EVERYTHING,
               **inputs: Any) -> Tensor:
        """Run the model without its output layer: tokens (B, T) or (T,), ints -> (B, T, C).

        With a cache, the tokens continue the cached tokens; decoding then calls `head` on the last position
        only. `Seen(starts=...)` separates packed documents, `Seen(ends=...)` lets the tokens of a prefix see
        each other. Other inputs go to `embed`. Raises UserError for bad or too many tokens.
        """
        tokens, positions = check_tokens(tokens, self.config, cache[0].lengths[:, None] if cache else None)
        return self.body(self.embed(tokens, positions, **inputs), positions, cache, seen)

    def new_cache(self, batch: int = 1, length: int | None = None) -> list[KVCache]:
        """Return an empty KV cache for `batch` rows of up to `length` tokens: one KVCache for each block.

        Without a length, each row has space for the whole context. Raises UserError unless every block has
        one `nn.Attention`; a model with other blocks overrides this method.
        """
        c = self.config
        dtype = next(iter(self.of_kind(Embedding).values())).weight.dtype
        room = c.context if length is None else min(length, c.context)
        parts = self.of_kind(Attention).values()
        if len(parts) != c.layers:
            raise UserError(f"{len(parts)} nn.Attention in {c.layers} layers: override new_cache")
        return [KVCache(batch, room, part.kv_heads, part.head_width, dtype, part.cache_kind, part.cache_parts)
                for part in parts]

    def for_scores(self, seed: int = 0) -> Self:
        """Return a copy that scores texts (a reward model): the layer `score` replaces the output layer.

        `seed` decides the layer's weight: see `replace_head`. A reward model is returned as it is.
        """
        return self if self.objective == "scores" else replace_head(copy.deepcopy(self), seed)

    def scores(self, tokens: ArrayLike, **inputs: Any) -> Tensor:
        """Score the text up to each position with a model from `for_scores`: tokens (B, T) -> (B, T).

        The other arguments go to `hidden`. Raises UserError for a model that scores no texts.
        """
        if self.objective != "scores":
            raise UserError(f"a {type(self).__name__} that writes is no reward model: give a run of "
                            "`tinyllm train reward`, or take model.for_scores()")
        x = self.hidden(tokens, **inputs)
        return self.score(x).reshape(x.shape[:2])


def replace_head(model: Any, seed: int = 0) -> Any:
    """Replace the output layer of a decoder by a layer that scores texts, in place; return the model.

    The layer's weight (1, C) is drawn with the standard deviation 1 / sqrt(C + 1), as in TRL. Raises
    UserError for a model that sees pictures, because transformers has no such class.
    """
    if model.picture_marks:
        raise UserError(f"a {type(model).__name__} sees pictures, and cannot become a reward model")
    width = model.config.width
    weight = Normal((1, width), (width + 1) ** -0.5, "score.weight", seed)()
    model.lm_head, model.score, model.objective = None, Head(Parameter(weight)), "scores"
    return model


def check_tokens(tokens: ArrayLike, config: Any, past: np.ndarray | None = None
                 ) -> tuple[np.ndarray, np.ndarray]:
    """Check token ids, and return them and their positions: (B, T) or (T,), ints -> two arrays (B, T).

    `past`, (B, 1) or (B, T), is added to the positions; the default is 0. Raises UserError when there are no
    ids, one is outside the vocabulary, or a position outside the context; TypeError unless they are ints.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim == 1:
        tokens = tokens[None]
    if tokens.ndim != 2 or tokens.size == 0:
        raise UserError(f"tokens must be (B, T) or (T,) with at least one token, got shape {tokens.shape}")
    if tokens.dtype.kind not in "iu":
        raise TypeError(f"tokens must be whole numbers, got an array of {tokens.dtype}")
    for worst in (tokens.min(), tokens.max()):
        if not 0 <= worst < config.vocab_size:
            raise UserError(f"token {worst} is outside of the model's vocabulary of {config.vocab_size}")
    positions = (np.zeros((len(tokens), 1), np.int64) if past is None else past) + np.arange(tokens.shape[1])
    if (total := positions.max() + 1) > (most := config.context):
        raise UserError(f"{total} tokens exceed the model's context of {most}: give fewer at a time")
    return tokens, positions


def check_targets(targets: ArrayLike, tokens_shape: tuple[int, ...], name: str = "targets") -> np.ndarray:
    """Return targets as an array (B, T). Raises ValueError if they have another shape than the tokens."""
    targets = np.atleast_2d(targets)
    if targets.shape != tuple(tokens_shape):
        raise ValueError(f"{name} {targets.shape} must have the shape of tokens {tuple(tokens_shape)}")
    return targets
