"""Self-attention: how a position gathers what earlier positions know."""

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.nn.layers import IDENTITY, Linear
from tinyllm.nn.module import Module
from tinyllm.tensor import Tensor


class Rope:
    """Give each position the angles by which rotary embeddings turn queries and keys.

    The tables grow with the positions that are asked for. Source: Su et al., "RoFormer", 2021.
    """

    def __init__(self, width: int, theta: float = 10000.0, scaling: dict | None = None):
        self.width, self.theta, self.scaling = width, theta, scaling
        self.tables = self.tabulate(0)

    def tabulate(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tables of the first `count` positions; `scaling` is Hugging Face's rope_scaling."""
        if self.scaling is None:
            return ops.rope_tables(np.arange(count), self.width, self.theta)
        return ops.scaled_rope_tables(np.arange(count), self.width, self.theta, self.scaling)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cosines and sines of positions: ints (B, T) -> two float32 (B, T, width / 2)."""
        end = int(positions.max(initial=0)) + 1
        if end > len(self.tables[0]):
            count = max(256, 1 << (end - 1).bit_length())
            self.tables = self.tabulate(count)
        cos, sin = self.tables
        return cos[positions], sin[positions]


class SelfAttention(Module):
    """Let every position look back: mix the values of all up to itself, weighted by query times key.

    x (B, T, C) -> y (B, T, C), of norm(x), by H heads of width D = C / H. With a cache, x holds the T newest
    positions only, and their keys and values join those that the cache holds; the result is the same, bit
    for bit on the compiled backend. Names as in GPT-2. Source: Vaswani et al., "Attention Is All You
    Need", 2017, section 3.2.
    """

    def __init__(self, width, heads, bias=True):
        if width % heads:
            raise ValueError(f"{heads} heads cannot share a width of {width}: make width a multiple of heads")
        self.width = width
        self.heads = heads
        self.c_attn = Linear(width, 3 * width, bias)  # query, key and value in one product
        self.c_proj = Linear(width, width, bias)

    def __call__(self, x, cache=None, norm=IDENTITY):
        B, T, C = x.shape
        parts = F.split(self.c_attn.after(norm, x, (norm,)), 3)
        q, k, v = (part.reshape(B, T, self.heads, C // self.heads) for part in parts)
        if cache is None:
            y = F.attention(q, k, v)
        else:
            keys, values = cache.append(k.data, v.data)  # plain arrays: no gradient flows into the past
            y = F.attention(q, Tensor(keys), Tensor(values), lengths=cache.lengths)
        return self.c_proj(y.reshape(B, T, C))

    def flops(self, batch, context):
        pairs = context * (context + 1) // 2  # each query meets the keys up to its own position
        return {"scores": 2 * 2 * batch * pairs * self.width}  # query times key, then weight times value
