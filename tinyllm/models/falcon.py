"""Define Falcon: attention and MLP side by side after one norm, and one head of keys and values.

Almazrouei et al., "The Falcon Series of Open Language Models", 2023. As in PaLM (Chowdhery et al., 2022,
section 2), a block is x + attention(norm(x)) + mlp(norm(x)), without biases, with multi-query attention
(Shazeer, "Fast Transformer Decoding: One Write-Head is All You Need", 2019), whose KV cache is H times
smaller. The rest is taken from LLaMA. Parameter names equal the names in Falcon-7B's checkpoint.
"""

from dataclasses import dataclass
from typing import Any

from tinyllm import nn
from tinyllm.config import fill_in, setting
from tinyllm.models.layout import Layout
from tinyllm.models.llama import Llama
from tinyllm.models.sizes import HIDDEN, TIED, WITH_HIDDEN, RotarySizes
from tinyllm.nn.attention import EVERYTHING, Angles, Past, Seen
from tinyllm.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class FalconConfig(RotarySizes):
    """The sizes of a Falcon. Raises UserError if they are inconsistent."""

    hf = {"eps": "layer_norm_epsilon"}
    head_parts = 2  # rotary positions rotate pairs of channels

    hidden: int | None = setting(None, **HIDDEN | {"help": "the inner width of the MLP; none: 4 C"},
                                 hf="ffn_hidden_size")
    tied: bool = setting(True, **TIED)

    def __post_init__(self):
        super().__post_init__()
        fill_in(self, hidden=4 * self.width)


class MultiQueryAttention(nn.Attention):
    """Apply attention with one head of keys and values; one layer makes q, k, v: x (B, T, C) -> (B, T, C)."""

    def __init__(self, config: FalconConfig):
        super().__init__(config.width, config.heads, kv_heads=1)
        self.query_key_value = nn.Linear(config.width, (config.heads + 2) * self.head_width, bias=False)
        self.dense = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        (B, T, _), H = x.shape, self.heads
        heads = self.query_key_value(x).reshape(B, T, H + 2, self.head_width)
        q, k, v = heads[:, :, :H], heads[:, :, H : H + 1], heads[:, :, H + 1 :]
        return self.dense(self.mix(q, k, v, cache, angles, seen))


class FalconBlock(nn.Module):
    """Run one transformer block: x + attention(norm(x)) + mlp(norm(x)), all (B, T, C)."""

    def __init__(self, config: Any, layer: int):
        self.input_layernorm = nn.LayerNorm(config.width, eps=config.eps)
        self.self_attention = MultiQueryAttention(config)
        self.mlp = nn.GeluMLP(config.width, config.hidden, bias=False)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        normed = self.input_layernorm(x)
        return x + self.self_attention(normed, angles, cache, seen) + self.mlp(normed)


class Falcon(Llama):
    """A Falcon model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "falcon"
    architecture = "FalconForCausalLM"
    config_class = FalconConfig
    PRESETS = WITH_HIDDEN | {"small": WITH_HIDDEN["small"] | {"context": 2048}}
    block = FalconBlock
    norm = nn.LayerNorm
    layout = Layout(
        transposed=True,
        prefix="transformer.",
        names=(("word_embeddings.", "model.embed_tokens."), ("ln_f.", "model.norm."),
               # "h." alone would also match in the layer's name "dense_h_to_4h."
               *((f"h.{digit}", f"model.layers.{digit}") for digit in range(10))),
        fixed={
            "activation": ("gelu",), "bias": (False,), "multi_query": (True,), "alibi": (False,),
            "new_decoder_architecture": (False,), "parallel_attn": (True,),
            "num_ln_in_parallel_attn": (None, 1),
        },
    )
    residual_outputs = ("dense.weight", "dense_4h_to_h.weight")
