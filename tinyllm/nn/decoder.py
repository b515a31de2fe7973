"""Define DecoderLM, the base of models that read tokens from left to right and predict the next one."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyllm.errors import UserError
from tinyllm.nn.attention import EVERYTHING, Attention, Seen
from tinyllm.nn.cache import KVCache
from tinyllm.nn.language_model import LanguageModel, check_tokens
from tinyllm.nn.layers import Embedding
from tinyllm.tensor import Tensor

Cache = list[KVCache] | None


class DecoderLM(LanguageModel):
    """Base of models that score every possible next token: tokens (B, T) -> logits (B, T, V).

    A subclass makes the modules, among them `lm_head`, and defines `embed` and `body`.
    """

    def embed(self, tokens: np.ndarray, positions: np.ndarray) -> Tensor:
        """Turn tokens into vectors: tokens (B, T), positions (B, T) -> (B, T, C)."""
        raise NotImplementedError

    def body(self, x: Tensor, positions: np.ndarray, cache: Cache, seen: Seen) -> Tensor:
        """Run the blocks and the last norm: x (B, T, C), positions (B, T) -> (B, T, C)."""
        raise NotImplementedError

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
