"""Define self-attention layers: each position averages the values of earlier positions and its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.nn.cache import KVCache
from tinyllm.nn.layers import Linear, RMSNorm
from tinyllm.nn.module import Module
from tinyllm.tape import mode
from tinyllm.tensor import Tensor

Angles = tuple[np.ndarray, np.ndarray]  # cosines and sines, from `Rope`
Past = KVCache | None  # a layer's keys and values of earlier positions; None without a cache


@dataclass(frozen=True, eq=False)
class Seen:
    """Say which keys each query may see, and what is added to its scores; by default only `causal` is on.

    A caller makes it once for all layers. A layer adds its own limits: see `Attention.mix`. The fields are
    arguments of `F.attention`, in the same order.

    causal: in a causal layer, no query sees a key after its own position.
    lengths (B,): row b has only its first lengths[b] keys; the rest is padding.
    bias: an array or Tensor that broadcasts to (H, S, T) and is added to the scores.
    window: how many keys a query sees, counted back from its own position, which is included.
    starts (B, S): the first key that each query sees, such as the start of its document in a packed row.
    ends (B, S): one more than the last key that each query sees; replaces `causal`.
    """

    causal: bool = True
    lengths: np.ndarray | None = None
    bias: Any = None
    window: int | None = None
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


EVERYTHING = Seen()  # whatever the layer itself lets a query see


class Rope:
    """Compute the angles by which rotary position embeddings rotate queries and keys.

    `scaling` is None, or a dict like Hugging Face's `rope_scaling`; the type "ntk" is allowed too, though
    transformers lacks it. The type "dynamic" is treated as None: it changes only positions beyond
    max_position_embeddings, and no model here goes so far. Source: Su et al., "RoFormer", 2021.
    """

    def __init__(self, width: int, theta: float = 10000.0, scaling: dict | None = None):
        self.width, self.theta, self.scaling = width, theta, scaling
        if scaling and scaling.get("rope_type", scaling.get("type")) == "dynamic":
            self.scaling = None
        self.tables: Angles | None = None

    def tabulate(self, count: int) -> Angles:
        """Return the cosines and sines of the first `count` positions: two arrays (count, width / 2)."""
        if self.scaling is None:
            return ops.rope_tables(np.arange(count), self.width, self.theta)
        return ops.scaled_rope_tables(np.arange(count), self.width, self.theta, self.scaling)

    def __call__(self, positions: np.ndarray) -> Angles:
        """Return the cosines and sines of positions: ints (B, T) -> two float32 (B, T, width / 2)."""
        end = int(positions.max(initial=0)) + 1
        if self.tables is None or end > len(self.tables[0]):
            self.tables = self.tabulate(max(256, 1 << (end - 1).bit_length()))
        cos, sin = self.tables
        return cos[positions], sin[positions]


def rotate(x: Tensor, angles: Angles) -> Tensor:
    """Rotate the channels of every head by the angles for each position: x (B, T, H, D) -> (B, T, H, D).

    With n angles for each position, only the first 2 n channels are rotated.
    """
    width = 2 * angles[0].shape[-1]
    if width == x.shape[-1]:
        return F.rope(x, *angles)
    return F.concat([F.rope(x[..., :width], *angles), x[..., width:]])


class Attention(Module):
    """Base of attention layers: average the values of all positions so far, weighted by softmax(q k^T).

    With `causal=False`, the average is over all positions, as in BERT.

    There are H query heads of width D, by default C / H; they may share K heads of keys and values. With a
    cache, the input is the new positions only, and their keys and values are appended to the cache; on the
    compiled backend the output has the same bits as without a cache. A subclass computes q, k and v, and
    calls `mix`. Raises ValueError unless D is given or the width is a multiple of the heads.
    Sources: Vaswani et al., "Attention Is All You Need", 2017, section 3.2; Ainslie et al., "GQA", 2023.
    """

    cache_parts = 2  # its KVCache has two parts: keys and values
    cache_kind = "float32"  # `nn.pack_cache` changes it

    def __init__(self, width: int, heads: int, kv_heads: int | None = None, head_width: int | None = None,
                 window: int | None = None, causal: bool = True):
        if width % heads and head_width is None:
            raise ValueError(f"{heads} heads cannot share a width of {width}: make width a multiple of heads")
        self.heads, self.kv_heads, self.head_width = heads, kv_heads or heads, head_width or width // heads
        self.causal = causal
        self.window = window  # how many keys a query sees, counted back from its own; None means all

    def mix(self, q: Tensor, k: Tensor, v: Tensor, cache: Past = None,
            angles: Angles | None = None, seen: Seen = EVERYTHING) -> Tensor:
        """Average the values for each query: q (B, T, H * D), k, v (B, T, K * D) -> (B, T, H * D).

        q, k and v may also be (B, T, heads, D). `angles`, a pair of tables from `Rope`, rotates queries and
        keys by their positions; tables with fewer channels than a head rotate only the head's first channels.
        The cache keeps the rotated keys, because the position of a key never changes. The limits of `seen`
        and of this layer apply together, except that a cache's own lengths replace `seen.lengths`.
        """
        B, T = q.shape[:2]
        q = q.reshape(B, T, self.heads, self.head_width)
        k = k.reshape(B, k.shape[1], self.kv_heads, self.head_width)
        v = v.reshape(B, v.shape[1], self.kv_heads, self.head_width)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            # Backward passes and functions in place of the ops take floats only.
            halves = not (mode.recording or ops.attention.override or ops.attention_ranges.override)
            k, v = map(Tensor, cache.append(k.data, v.data, halves))  # no gradient flows into the past
        causal, lengths = self.causal and seen.causal, seen.lengths if cache is None else cache.lengths
        window = self.window if seen.window is None else min(seen.window, self.window or seen.window)
        y = F.attention(q, k, v, causal, lengths, seen.bias, window, seen.starts, seen.ends)
        return y.reshape(B, T, self.heads * self.head_width)

    def flops(self, batch: int, context: int) -> dict[str, int]:
        # A causal query is multiplied with the keys up to its own position, another with all keys.
        seen = min(context, self.window or context)  # the most keys that a query may see
        pairs = seen * (seen + 1) // 2 + (context - seen) * seen if self.causal else context * context
        return {"scores": 2 * 2 * batch * pairs * self.heads * self.head_width}


class SelfAttention(Attention):
    """Apply GPT-2's attention, where one linear layer makes q, k and v: x (B, T, C) -> (B, T, C)."""

    def __init__(self, width: int, heads: int, bias: bool = True):
        super().__init__(width, heads)
        self.c_attn = Linear(width, 3 * width, bias)
        self.c_proj = Linear(width, width, bias)

    def forward(self, x: Tensor, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        q, k, v = F.split(self.c_attn(x), 3)
        return self.c_proj(self.mix(q, k, v, cache, None, seen))


class GroupedAttention(Attention):
    """Apply LLaMA's attention, with layers for q, k and v and rotary positions: x (B, T, C) -> (B, T, C).

    With `norm_eps`, each head's queries and keys are scaled by an RMSNorm first, so that their products
    cannot grow without limit (Henry et al., "Query-Key Normalization for Transformers", 2020).
    """

    def __init__(self, width: int, heads: int, kv_heads: int | None = None, head_width: int | None = None,
                 bias: bool = False, out_bias: bool = False, norm_eps: float | None = None,
                 window: int | None = None, causal: bool = True):
        super().__init__(width, heads, kv_heads, head_width, window, causal)
        self.q_proj = Linear(width, heads * self.head_width, bias)
        self.k_proj = Linear(width, self.kv_heads * self.head_width, bias)
        self.v_proj = Linear(width, self.kv_heads * self.head_width, bias)
        self.o_proj = Linear(heads * self.head_width, width, out_bias)
        self.q_norm = None if norm_eps is None else RMSNorm(self.head_width, norm_eps)
        self.k_norm = None if norm_eps is None else RMSNorm(self.head_width, norm_eps)

    def forward(self, x: Tensor, angles: Angles | None, cache: Past = None,
                 seen: Seen = EVERYTHING) -> Tensor:
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.q_norm and self.k_norm:
            q = self.q_norm(q.reshape(*x.shape[:2], self.heads, self.head_width))
            k = self.k_norm(k.reshape(*x.shape[:2], self.kv_heads, self.head_width))
        return self.o_proj(self.mix(q, k, v, cache, angles, seen))
