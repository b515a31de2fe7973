"""Define T5: an encoder reads a text, and a decoder writes another one; complete in this file.

Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020.
Differences from GPT-2: positions in the encoder see each other in both directions; the decoder also attends
to the encoder's output (cross-attention); a learnt bias for each distance between positions, shared by all
layers of a stack, is added to the scores; scores are not divided by sqrt(D), so the initial weights of q are
smaller by this factor; RMSNorm; no biases. Version 1.1 has a gate in the MLP, and its output layer is not the
embedding (Shazeer, "GLU Variants Improve Transformer", 2020). Parameter names equal Hugging Face's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.arrays import ArrayLike
from tinyllm.config import check, fill_in, setting
from tinyllm.errors import UserError
from tinyllm.models.layout import Layout
from tinyllm.models.pretrained import Pretrained
from tinyllm.models.sizes import SIZE
from tinyllm.nn.attention import EVERYTHING, Past, Seen
from tinyllm.nn.language_model import check_tokens
from tinyllm.ops.loss import IGNORED
from tinyllm.padding import by_length, pad_right
from tinyllm.tensor import Tensor

NEWER: dict[str, Any] = {"mlp": "gated-gelu", "tied": False, "scaled": False}  # as in T5 version 1.1
NANO = {"layers": 2, "heads": 4, "width": 128, "head_width": 32, "hidden": 336, "context": 128} | NEWER
PRESETS: dict[str, dict[str, Any]] = {
    "laptop": NANO,
    "nano": NANO,
    "mini": {"layers": 4, "heads": 6, "width": 384, "head_width": 64, "hidden": 1024, "context": 256} | NEWER,
    "small": {"layers": 6, "heads": 8, "width": 512, "head_width": 64, "hidden": 2048},  # T5, 60M parameters
}
STARTS = "decoder_start_token_id", "pad_token_id"  # both are the same token
SCALED = "scale_decoder_outputs", "tie_word_embeddings"  # version 1.0 ties the output layer and scales
SENTINELS = 32  # how many sentinels a new tokenizer has; T5's own has 100
READ_AT_ONCE = 4096  # tokens of sources, padding included, in one pass of the encoder
Memory = tuple[Tensor, Tensor]  # keys and values


@dataclass(frozen=True)
class T5Config:
    """The sizes of a T5: `T5Config(vocab_size=65, **T5.PRESETS["nano"])`; UserError if unfit."""

    vocab_size: int = setting(**SIZE, hf="vocab_size", help="V: how many different tokens there are")
    layers: int = setting(**SIZE, hf="num_layers", help="blocks of the encoder")
    heads: int = setting(**SIZE, hf="num_heads", help="H: heads of attention")
    width: int = setting(**SIZE, hf="d_model", help="C: how many numbers describe a position")
    head_width: int = setting(**SIZE, hf="d_kv", help="D; H * D may differ from C")
    hidden: int = setting(**SIZE, hf="d_ff", help="the inner width of the MLP")
    context: int = setting(512, **SIZE, hf="n_positions", help="the longest text that is read or written")
    decoder_layers: int | None = setting(None, **SIZE, hf="num_decoder_layers", help="none: the encoder's")
    buckets: int = setting(32, min=4, max=2**16, hf="relative_attention_num_buckets", help="of distances")
    max_distance: int = setting(128, **SIZE, hf="relative_attention_max_distance", help="then all are equal")
    mlp: str = setting("relu", hf="feed_forward_proj", choices=("relu", "gated-gelu"), help="of each block")
    dropout: float = setting(0.0, min=0, below=1, hf="dropout_rate", help="the part of numbers set to zero")
    eps: float = setting(1e-6, above=0, below=1, hf="layer_norm_epsilon", help="added to mean squares")
    tied: bool = setting(True, hf="tie_word_embeddings", help="the embedding is also the output layer")
    scaled: bool = setting(True, hf=SCALED, help="multiply the output by 1 / sqrt(C)")
    start: int = setting(0, min=0, hf=STARTS, help="the token before the first one written")
    end: int | None = setting(None, min=0, hf="eos_token_id", help="the token that ends a text")

    def __post_init__(self):
        check(self)
        if self.max_distance <= self.buckets // 2:
            raise UserError(f"max_distance must exceed half of {self.buckets} buckets")
        for name, token in (("start", self.start), ("end", self.end)):
            if token is not None and token >= self.vocab_size:
                raise UserError(f"{name} {token} is not in a vocabulary of {self.vocab_size}")
        fill_in(self, decoder_layers=self.layers)


class T5Attention(nn.Attention):
    """Apply attention without dividing the scores by sqrt(D): x (B, T, C) -> (B, T, C).

    With `memory`, keys and values from `read`, it is attention to the encoder's output.
    """

    def __init__(self, config: T5Config, causal: bool = False):
        inner = config.heads * config.head_width
        super().__init__(config.width, config.heads, head_width=config.head_width, causal=causal)
        self.q, self.k, self.v = (nn.Linear(config.width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, config.width, bias=False)

    def forward(self, x: Tensor, cache: Past, seen: Seen, memory: Memory | None = None) -> Tensor:
        k, v = memory or self.read(x)
        q = self.q(x) * self.head_width**0.5  # F.attention divides by it
        return self.o(self.mix(q, k, v, cache, None, seen))

    def read(self, x: Tensor) -> Memory:
        """Make keys and values of every position: x (B, S, C) -> two Tensors (B, S, H, D)."""
        shape = *x.shape[:2], self.heads, self.head_width
        return self.k(x).reshape(*shape), self.v(x).reshape(*shape)


class T5MLP(nn.Module):
    """Apply a feed-forward block, with a gate in version 1.1: x (..., C) -> (..., C)."""

    def __init__(self, config: T5Config):
        self.gated = config.mlp != "relu"
        if self.gated:
            self.wi_0, self.wi_1 = (nn.Linear(config.width, config.hidden, bias=False) for _ in range(2))
        else:
            self.wi = nn.Linear(config.width, config.hidden, bias=False)
        self.wo = nn.Linear(config.hidden, config.width, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu_tanh(self.wi_0(x)) * self.wi_1(x) if self.gated else F.relu(self.wi(x))
        return self.wo(self.drop(h))


class T5Layer(nn.Module):
    """Compute x + part(norm(x)). The part is attention or an MLP, an attribute named as in checkpoints."""

    def __init__(self, config: T5Config, kind: str, part: nn.Module):
        self.kind = kind
        setattr(self, kind, part)
        self.layer_norm = nn.RMSNorm(config.width, config.eps)
        self.drop = nn.Dropout(config.dropout)

    @property
    def part(self) -> Any:
        """Return the attention or MLP."""
        return getattr(self, self.kind)

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        return x + self.drop(self.part(self.layer_norm(x), *given))


class T5Block(nn.Module):
    """Run attention, then attention to the encoder (in a decoder), then an MLP: x (B, T, C) -> (B, T, C)."""

    def __init__(self, config: T5Config, decodes: bool):
        self.layer = [T5Layer(config, "SelfAttention", T5Attention(config, causal=decodes))]
        if decodes:
            self.layer.append(T5Layer(config, "EncDecAttention", T5Attention(config)))
        self.layer.append(T5Layer(config, "DenseReluDense", T5MLP(config)))

    def forward(self, x: Tensor, cache: Past, seen: Seen, memory: Memory | None, lengths: Any) -> Tensor:
        x = self.layer[0](x, cache, seen)
        if memory is not None:
            x = self.layer[1](x, None, Seen(lengths=lengths), memory)
        return self.layer[-1](x)


class T5Stack(nn.Module):
    """Run the encoder or the decoder of a T5: x (B, T, C) -> (B, T, C).

    A decoder also attends to the encoder's output, where row b has lengths[b] positions; `memory` holds each
    block's keys and values of that output.
    """

    def __init__(self, config: T5Config, layers: int, decodes: bool):
        self.config, self.causal = config, decodes
        self.block = [T5Block(config, decodes) for _ in range(layers)]
        self.block[0].layer[0].part.relative_attention_bias = nn.Embedding(config.buckets, config.heads)
        self.final_layer_norm = nn.RMSNorm(config.width, config.eps)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, lengths: Any, cache: list[nn.KVCache] | None = None,
                memory: list[Memory] | None = None) -> Tensor:
        c, T = self.config, x.shape[1]
        past, keys = (cache[0].length, cache[0].keys.shape[1]) if cache else (0, T)
        distance = np.arange(keys) - np.arange(past, past + T)[:, None]
        buckets = ops.relative_buckets(distance, c.buckets, c.max_distance, self.causal)
        bias = self.block[0].layer[0].part.relative_attention_bias(buckets).transpose(2, 0, 1)
        seen = Seen(bias=bias, lengths=None if self.causal else lengths)  # bias (H, T, keys)
        x = self.drop(x)
        for i, block in enumerate(self.block):
            x = block(x, cache[i] if cache else None, seen, memory[i] if memory else None, lengths)
        x = self.drop(self.final_layer_norm(x))
        return x * c.width**-0.5 if self.causal and c.scaled else x


class T5(Pretrained, nn.LanguageModel):
    """A T5 model: tokens (B, S), decoder_tokens (B, T) -> logits (B, T, V).

    The encoder reads a text of S tokens. The decoder begins with `config.start`, and writes until
    `config.end`. In the cache, a layer's `source` has the keys and values of the encoder's output.
    """

    model_type = "t5"
    architecture = "T5ForConditionalGeneration"
    config_class: ClassVar[type] = T5Config
    objective = "spans"
    is_encoder_decoder = True
    PRESETS = PRESETS
    special_tokens = {"pad": "<pad>", "end": "</s>"} | {
        f"span {i}": f"<extra_id_{i}>" for i in reversed(range(SENTINELS))
    }
    token_settings = {"start": "pad", "end": "end"}
    layout = Layout(
        transposed=True,
        ignored=r"decoder\.block\.0\.layer\.1\..*bias\.weight",
        copies={f"{name}coder.embed_tokens.weight": "shared.weight" for name in ("en", "de")},
        embedding="shared.weight",
        defaults={"dropout_rate": 0.1, "eos_token_id": 1},
        fixed={
            "is_encoder_decoder": (True,),
            "is_gated_act": lambda config: (config.mlp != "relu",),
            "dense_act_fn": lambda config: ("relu" if config.mlp == "relu" else "gelu_new",),
        },
    )

    def __init__(self, config: T5Config, seed: int | None = 0):
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.width)
        self.encoder = T5Stack(config, config.layers, decodes=False)
        self.decoder = T5Stack(config, config.decoder_layers or config.layers, decodes=True)
        self.lm_head = nn.Head(self.shared.weight, config.tied)
        self.finish(seed)

    def first_std(self, name: str) -> float:
        """Return a new weight's standard deviation: T5's, except for relative position biases.

        The initial weights of q are divided by sqrt(D), because scores are not. The biases begin with
        a std of 1, not C^-0.5: AdamW takes a thousand steps to make small numbers large enough for
        heads to tell neighbours apart, and until then the model does not know the order of words.
        """
        c = self.config
        sizes = {"shared.weight": 1, "relative_attention_bias.weight": 1, ".q.weight": c.width * c.head_width,
                 ".o.weight": c.heads * c.head_width, ".wo.weight": c.hidden}
        fan = next((size for end, size in sizes.items() if name.endswith(end)), c.width)
        return fan**-0.5

    def forward(self, tokens: ArrayLike, decoder_tokens: ArrayLike,  # type: ignore[override]
                seen: Seen = EVERYTHING) -> Tensor:
        """Score every possible next token after every decoder token.

        tokens (B, S), decoder_tokens (B, T), ints -> logits (B, T, V). With `Seen(lengths=...)` (B,), only
        the first lengths[b] tokens of row b count; the others are padding. Raises UserError for bad tokens.
        """
        return self.head(self.hidden(decoder_tokens, source=tokens, seen=seen))

    def encode(self, tokens: ArrayLike, seen: Seen = EVERYTHING) -> Tensor:
        """Run the encoder: tokens (B, S) or (S,), ints -> (B, S, C). Row b has `seen.lengths[b]` tokens.

        Raises UserError when a token is out of range, or there are too many.
        """
        tokens, _ = check_tokens(tokens, self.config)
        return self.encoder(self.shared(tokens), seen.lengths)

    @property
    def end_ids(self) -> list[int]:
        return [] if self.config.end is None else [self.config.end]

    def new_cache(self, batch: int = 1, length: int | None = None) -> list[nn.KVCache]:
        """Return an empty cache for `batch` rows, each with space for `length` tokens of the decoder.

        Without a length, there is space for the whole context. `read` returns one that has read sources.
        """
        c = self.config
        room, sizes = c.context if length is None else min(length, c.context), (c.heads, c.head_width)
        cache = [nn.KVCache(batch, room, *sizes, self.shared.weight.dtype) for _ in self.decoder.block]
        for layer in cache:
            layer.source = nn.KVCache(batch, 0, *sizes, self.shared.weight.dtype)
        return cache

    def read(self, sources: Sequence[Sequence[int]]) -> list[nn.KVCache]:
        lengths = np.array([len(ids) for ids in sources], np.int64)
        cache = self.new_cache(len(sources), 0)
        for layer in cache:
            layer.source.reserve(0, int(lengths.max(initial=0)))
        with nn.inference(self):
            for rows in by_length(sources, READ_AT_ONCE):
                x = self.encode(pad_right([sources[row] for row in rows]), Seen(lengths=lengths[rows]))
                for layer, (k, v) in zip(cache, self._memory(x), strict=True):
                    layer.source.write((rows, slice(0, x.shape[1])), k.data, v.data)
        for layer in cache:
            layer.source.lengths[:] = lengths
        return cache

    def _memory(self, x):
        """Make the keys and values of each of the decoder's blocks from the encoder's output (B, S, C)."""
        return [block.layer[1].part.read(x) for block in self.decoder.block]

    def hidden(self, decoder_tokens: ArrayLike, cache: list[nn.KVCache] | None = None, *,  # type: ignore[override]
               source: ArrayLike | None = None, seen: Seen = EVERYTHING) -> Tensor:
        """Run the model without its output layer: decoder_tokens (B, T), ints -> (B, T, C).

        Without a cache, the encoder's text is `source` (B, S), and row b has `seen.lengths[b]` tokens. With a
        cache, `read` has stored that text in it, and the tokens continue the cached tokens. Raises UserError
        for bad or too many tokens.
        """
        tokens, _ = check_tokens(decoder_tokens, self.config, cache[0].lengths[:, None] if cache else None)
        if not cache:
            memory = None if source is None else self._memory(self.encode(source, seen))
            return self.decoder(self.shared(tokens), seen.lengths, memory=memory)
        # Neighbouring rows of equal length share one relative position bias, so they are decoded together.
        edges = [0, *(np.flatnonzero(np.diff(cache[0].lengths)) + 1), len(tokens)]
        parts = []
        for a, b in pairwise(edges):
            part = cache if len(edges) == 2 else [layer.keep(slice(a, b)) for layer in cache]
            memory = [(Tensor(layer.source.keys), Tensor(layer.source.values)) for layer in part]
            parts.append(self.decoder(self.shared(tokens[a:b]), part[0].source.lengths, part, memory))
        return parts[0] if len(parts) == 1 else F.concat(parts, axis=0)

    def before_head(self, tokens: ArrayLike, targets: ArrayLike, **inputs: Any) -> Tensor:
        """Return the decoder's output, from which `lm_head` computes the logits of each target.

        tokens (B, S), targets (B, T) -> (B, T, C). The decoder reads `start` and all targets but the last.
        """
        before = np.atleast_2d(targets)[:, :-1]
        shifted = np.pad(np.where(before == IGNORED, self.config.start, before), ((0, 0), (1, 0)),
                         constant_values=self.config.start)
        return self.hidden(shifted, source=tokens, **inputs)
