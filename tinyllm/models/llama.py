"""LLaMA: GPT with four parts exchanged, read from end to end in this file.

Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023. What differs from GPT-2:
RMSNorm, which does not subtract the mean; positions that turn queries and keys (RoPE) where GPT-2 adds a
vector; a gate in the MLP (SwiGLU); no biases, and an output layer of its own. Query heads may share keys
and values (grouped-query attention: Ainslie et al., "GQA", 2023), which makes the KV cache smaller.
Parameter names are those of Hugging Face's checkpoints; the matrices here are (n_in, n_out), theirs lie
the other way round.
"""

from dataclasses import dataclass

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.models.inputs import check_sizes, check_targets, check_tokens, positions_of
from tinyllm.nn import IDENTITY, Embedding, KVCache, Linear, Module, RMSNorm, init_normal, side_by_side
from tinyllm.tensor import Tensor

LLAMA_PRESETS = {
    "llama-110m": {
        "vocab_size": 32000, "context": 1024, "layers": 12, "heads": 12, "kv_heads": 12, "width": 768,
        "hidden": 2048,
    },  # the largest of Karpathy's "stories" models, 2023; 134M parameters with its own output layer
}  # fmt: skip


@dataclass(frozen=True)
class LlamaConfig:
    """The sizes of a LLaMA, such as `LlamaConfig(**LLAMA_PRESETS["llama-110m"])`.

    Raises UserError when they make no model.
    """

    vocab_size: int  # V: how many different tokens there are
    context: int  # the largest T: how far back the model can look
    layers: int  # how many blocks stand on each other
    heads: int  # H: query heads
    kv_heads: int  # K: heads of keys and values, each shared by H / K query heads
    width: int  # C: how many numbers describe a position
    hidden: int  # how many numbers the MLP thinks with
    eps: float = 1e-5  # keeps rmsnorm from dividing by zero
    theta: float = 10000.0  # the base of the angles by which positions turn

    def __post_init__(self):
        check_sizes(self, ("vocab_size", "context", "layers", "heads", "kv_heads", "width", "hidden"))
        if self.width % self.heads or self.width // self.heads % 2:
            raise UserError(
                f"{self.heads} heads cannot share a width of {self.width}: make it an even multiple of heads"
            )
        if self.heads % self.kv_heads:
            raise UserError(
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads: make heads a multiple of kv_heads"
            )
        for name, low, high in (("eps", 0, 1), ("theta", 1, 1e12)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low < value < high:
                raise UserError(f"{name} must be a number above {low} and below {high:g}, got {value!r}")


class Attention(Module):
    """Let every position look back, after queries and keys were turned by their positions' angles.

    x (B, T, C), tables cos and sin -> (B, T, C). With a cache, x holds the newest positions only. The cache
    keeps the turned keys: an angle belongs to a position, and a position never changes.
    """

    same_input = ("q_proj", "k_proj", "v_proj")

    def __init__(self, config):
        c = config
        self.heads, self.kv_heads, self.head_width = c.heads, c.kv_heads, c.width // c.heads
        self.q_proj = Linear(c.width, c.width, bias=False)
        self.k_proj = Linear(c.width, c.kv_heads * self.head_width, bias=False)
        self.v_proj = Linear(c.width, c.kv_heads * self.head_width, bias=False)
        self.o_proj = Linear(c.width, c.width, bias=False)

    def __call__(self, x, cos, sin, cache=None):
        B, T, C = x.shape
        q, k, v = side_by_side(x, self.q_proj, self.k_proj, self.v_proj)
        q = F.rope(q.reshape(B, T, self.heads, self.head_width), cos, sin)
        k = F.rope(k.reshape(B, T, self.kv_heads, self.head_width), cos, sin)
        v = v.reshape(B, T, self.kv_heads, self.head_width)
        if cache is None:
            y = F.attention(q, k, v)
        else:
            keys, values = cache.append(k.data, v.data)  # plain arrays: no gradient flows into the past
            y = F.attention(q, Tensor(keys), Tensor(values), lengths=cache.lengths)
        return self.o_proj(y.reshape(B, T, C))

    def flops(self, batch, context):
        pairs = context * (context + 1) // 2  # each query meets the keys up to its own position
        return {"scores": 2 * 2 * batch * pairs * self.heads * self.head_width}


class GatedMLP(Module):
    """Widen twice, let one half gate the other, narrow: y = (silu(n @ gate) * (n @ up)) @ down, n = norm(x).

    x (..., C) -> (..., C). Source: Shazeer, "GLU Variants Improve Transformer", 2020.
    """

    same_input = ("gate_proj", "up_proj")

    def __init__(self, config):
        self.gate_proj = Linear(config.width, config.hidden, bias=False)
        self.up_proj = Linear(config.width, config.hidden, bias=False)
        self.down_proj = Linear(config.hidden, config.width, bias=False)

    def __call__(self, x, norm=IDENTITY):
        def gated(x):
            return F.swiglu(*side_by_side(norm(x), self.gate_proj, self.up_proj))

        return self.down_proj.after(gated, x, (norm, self.gate_proj, self.up_proj))


class LlamaBlock(Module):
    """Look around, then think: x + attention(norm(x)), then x + mlp(norm(x)): (B, T, C) -> (B, T, C)."""

    def __init__(self, config):
        self.input_layernorm = RMSNorm(config.width, config.eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.eps)
        self.mlp = GatedMLP(config)

    def __call__(self, x, cos, sin, cache=None):
        x = F.add(x, self.self_attn(self.input_layernorm(x), cos, sin, cache))
        return F.add(x, self.mlp(x, self.post_attention_layernorm))


class LlamaBody(Module):
    """All but the output layer; a part of its own, because checkpoints call it `model`."""

    def __init__(self, config):
        self.embed_tokens = Embedding(config.vocab_size, config.width)
        self.layers = [LlamaBlock(config) for _ in range(config.layers)]
        self.norm = RMSNorm(config.width, config.eps)
        width = config.width // config.heads
        self.cos, self.sin = ops.rope_tables(np.arange(config.context), width, config.theta)

    def __call__(self, tokens, positions, cache=None):
        cos, sin = self.cos[positions], self.sin[positions]  # (B, T, D/2): rows stand where their cache ends
        x = self.embed_tokens(tokens)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, cache[i] if cache else None)
        return self.norm(x)


class Llama(Module):
    """A model that reads tokens and scores every possible next one: tokens (B, T) -> logits (B, T, V).

    `seed` decides the initial weights; `seed=None` leaves the matrices zero, for a model that gets its
    weights from a file.
    """

    def __init__(self, config, seed=0):
        self.config = config
        self.model = LlamaBody(config)
        self.lm_head = Linear(config.width, config.vocab_size, bias=False)
        if seed is not None:
            init_normal(self, seed, self._initial_std)
            self.dropout_stream(seed, 0)

    def __call__(self, tokens, cache=None):
        """Score every possible next token after every position.

        tokens (B, T) or (T,), ints -> logits (B, T, V). With a cache, the tokens follow those that it has
        seen. Raises UserError when there are no tokens, more than the context holds, or some outside the
        vocabulary.
        """
        return self.head(self.hidden(tokens, cache))

    def hidden(self, tokens, cache=None):
        """Run all but the output layer, which decoding needs at the last position only.

        tokens (B, T) or (T,), ints -> (B, T, C). Raises UserError as calling the model does.
        """
        tokens = check_tokens(tokens, self.config.vocab_size)
        return self.model(tokens, positions_of(tokens, cache, self.config.context), cache)

    def head(self, x):
        """Score each token: (..., C) -> logits (..., V)."""
        return self.lm_head(x)

    def loss(self, tokens, targets):
        """Measure how surprised the model is by the true next tokens: their mean cross-entropy, in nats.

        tokens, targets (B, T) -> (). Targets of -100 do not count. A model that knows nothing pays ln V.
        """
        logits = self(tokens)
        return F.cross_entropy(logits, check_targets(targets, logits.shape[:2]))

    def new_cache(self, batch=1):
        """Return an empty KV cache for `batch` rows: one KVCache for each block."""
        c = self.config
        dtype = self.model.embed_tokens.weight.dtype
        return [KVCache(batch, c.context, c.kv_heads, c.width // c.heads, dtype) for _ in self.model.layers]

    def _initial_std(self, name):
        """0.02, but less where a block adds to the residual stream, which 2 * layers sums would make grow."""
        narrows = name.endswith(("o_proj.weight", "down_proj.weight"))
        return 0.02 / (2 * self.config.layers) ** 0.5 if narrows else 0.02
