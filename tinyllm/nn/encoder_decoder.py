"""Define EncoderDecoderLM, the base of models that read one text with an encoder and write another."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import tinyllm.functional as F
from tinyllm.nn.cache import CrossCache
from tinyllm.nn.decoder import positions_of
from tinyllm.nn.language_model import LanguageModel, check_tokens
from tinyllm.nn.module import inference
from tinyllm.nn.seen import EVERYTHING, Seen
from tinyllm.ops.loss import IGNORED
from tinyllm.padding import by_length, pad_right
from tinyllm.tensor import Tensor

READ_AT_ONCE = 4096  # tokens of sources, padding included, in one pass of the encoder


class EncoderDecoderLM(LanguageModel):
    """Base of models that read one text with an encoder and write another with a decoder.

    tokens (B, S), decoder_tokens (B, T) -> logits (B, T, V). A subclass makes the modules `shared` (the
    embedding), `encoder`, `decoder` and `lm_head`; the decoder has its blocks in `block`, each with a method
    `read`. The model's `config` also has: context, the limit of S and T; heads; head_width; start, the
    decoder's first token; and end, the token that ends a text, or None.
    """

    is_encoder_decoder = True
    shared: Any
    encoder: Any
    decoder: Any

    def forward(self, tokens: ArrayLike, decoder_tokens: ArrayLike, seen: Seen = EVERYTHING) -> Tensor:
        """Score every possible next token after every decoder token.

        tokens (B, S), decoder_tokens (B, T), ints -> logits (B, T, V). With `Seen(lengths=...)` (B,), only
        the first lengths[b] tokens of row b count; the others are padding. Raises UserError when there are no
        tokens, too many for the context, or ids outside the vocabulary.
        """
        return self.head(self.hidden(decoder_tokens, source=tokens, seen=seen))

    def encode(self, tokens: ArrayLike, seen: Seen = EVERYTHING) -> Tensor:
        """Run the encoder: tokens (B, S) or (S,), ints -> (B, S, C).

        Raises UserError when a token is out of range, or there are too many.
        """
        tokens = check_tokens(tokens, self.config.vocab_size)
        positions_of(tokens, None, self.config.context)  # raises when there are too many
        check_lengths(seen.lengths, tokens)
        return self.encoder(self.shared(tokens), seen=seen)

    @property
    def end_ids(self) -> list[int]:
        return [] if self.config.end is None else [self.config.end]

    def read(self, sources: Sequence[Sequence[int]]) -> list[CrossCache]:
        lengths = np.array([len(ids) for ids in sources], np.int64)
        cache = self.new_cache(len(sources), 0)
        for layer in cache:
            layer.source.reserve(0, int(lengths.max(initial=0)))
        with inference(self):
            for rows in by_length(sources, READ_AT_ONCE):
                x = self.encode(pad_right([sources[row] for row in rows]), Seen(lengths=lengths[rows]))
                for block, layer in zip(self.decoder.block, cache, strict=True):
                    k, v = block.read(x)
                    layer.source.write((rows, slice(0, x.shape[1])), k.data, v.data)
        for layer in cache:
            layer.source.lengths[:] = lengths
        return cache

    def hidden(self, decoder_tokens: ArrayLike, cache: list[CrossCache] | None = None, *,  # type: ignore[override]
               source: ArrayLike | None = None, seen: Seen = EVERYTHING) -> Tensor:
        """Run the model without its output layer: decoder_tokens (B, T), ints -> (B, T, C).

        Either `source` (B, S), of which the decoder sees `seen.lengths`, is the encoder's text; or `read` has
        stored that text in the cache, and the tokens continue the cached tokens. Raises UserError for bad or
        too many tokens.
        """
        tokens = check_tokens(decoder_tokens, self.config.vocab_size)
        positions_of(tokens, cache, self.config.context)  # type: ignore[arg-type]
        if not cache:
            memory = None if source is None else self.encode(source, seen)
            return self.decoder(self.shared(tokens), memory=memory, seen=seen)
        edges = [0, *(np.flatnonzero(np.diff(cache[0].lengths)) + 1), len(tokens)]
        if len(edges) == 2:
            return self.decoder(self.shared(tokens), cache)
        parts = [self.decoder(self.shared(tokens[a:b]), [layer.rows(a, b) for layer in cache])
                 for a, b in pairwise(edges)]  # the bias of distances is the same in rows of equal length
        return F.concat(parts, axis=0)

    def before_head(self, tokens: ArrayLike, targets: ArrayLike, **inputs: Any) -> Tensor:
        """Return the decoder's output, from which `lm_head` computes the logits of each target.

        tokens (B, S), targets (B, T) -> (B, T, C). The decoder reads `start` and all targets but the last.
        """
        before = np.atleast_2d(targets)[:, :-1]
        shifted = np.pad(np.where(before == IGNORED, self.config.start, before), ((0, 0), (1, 0)),
                         constant_values=self.config.start)
        return self.hidden(shifted, source=tokens, **inputs)

    def new_cache(self, batch: int = 1, length: int | None = None) -> list[CrossCache]:
        """Return an empty cache for `batch` rows, each with space for `length` tokens of the decoder.

        Without a length, there is space for the whole context. `read` returns one that has read sources.
        """
        c = self.config
        room = c.context if length is None else min(length, c.context)
        sizes = batch, room, c.heads, c.head_width, self.shared.weight.dtype
        return [CrossCache(*sizes) for _ in self.decoder.block]


def check_lengths(lengths: np.ndarray | None, tokens: np.ndarray) -> None:
    """Raise ValueError unless lengths is None, or has a number from 1 to S for each row of tokens (B, S)."""
    if lengths is None:
        return
    B, S = tokens.shape
    if lengths.shape != (B,) or lengths.dtype.kind not in "iu" or lengths.min() < 1 or lengths.max() > S:
        raise ValueError(f"lengths must be {B} whole numbers from 1 to {S}, got {lengths.tolist()}")
