"""Define GPT-NeoX: LLaMA with another block, in which attention and MLP stand side by side.

Black et al., "GPT-NeoX-20B: An Open-Source Autoregressive Language Model", 2022, section 2.1. Both parts read
the same residual stream, and their results are added together: x + attention(norm1(x)) + mlp(norm2(x)). So
the MLP need not wait for attention, and large models train faster; Chowdhery et al., "PaLM", 2022, section 2,
found no loss of quality. Only some channels of each head are rotated by the position. Pythia's models have
this layout and these parameter names. In `falcon.py` both parts share one norm.
"""

from dataclasses import dataclass
from typing import Any

import tinyllm.functional as F
from tinyllm import nn
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.models.layout import Layout
from tinyllm.models.llama import Llama
from tinyllm.models.sizes import HIDDEN, TIED, WITH_HIDDEN, RotarySizes
from tinyllm.nn.attention import Angles, Past
from tinyllm.nn.seen import EVERYTHING, Seen
from tinyllm.tensor import Tensor

PRESETS = WITH_HIDDEN | {"small": WITH_HIDDEN["small"] | {"context": 2048}}  # as Pythia-160m


@dataclass(frozen=True, kw_only=True)
class GPTNeoXConfig(RotarySizes):
    """The sizes of a GPT-NeoX, and how its block is built. Raises UserError if they are inconsistent."""

    hf = {"theta": ("rope_theta", "rotary_emb_base"), "rotated": ("partial_rotary_factor", "rotary_pct")}

    hidden: int = setting(**HIDDEN, hf="intermediate_size")
    rotated: float = setting(0.25, above=0, max=1, help="the part of a head that is rotated")
    parallel: bool = setting(True, hf="use_parallel_residual", help="attention and MLP read the same input")
    tied: bool = setting(False, **TIED)

    def __post_init__(self):
        super().__post_init__()
        if self.rotary_width < 2 or self.rotary_width % 2:
            part = f"{self.rotated} of a head of {self.width // self.heads}"
            raise UserError(f"rotated: {part} is not an even number of channels")

    @property
    def rotary_width(self) -> int:
        """Return how many channels of each head are rotated by a token's position."""
        return int(self.width // self.heads * self.rotated)


class NeoXAttention(nn.Attention):
    """Apply attention; one linear layer makes q, k and v of head 0, then of head 1, and so on.

    x (B, T, C) -> (B, T, C).
    """

    def __init__(self, config: Any):
        super().__init__(config.width, config.heads, dropout=config.attention_dropout)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.dense = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        B, T, _ = x.shape
        q, k, v = F.split(self.query_key_value(x).reshape(B, T, self.heads, 3 * self.head_width), 3)
        return self.dense(self.mix(q, k, v, cache, angles, seen))


class NeoXMLP(nn.Module):
    """Apply a feed-forward block: widen, apply the exact gelu, narrow: x (..., C) -> (..., C)."""

    def __init__(self, width: int, hidden: int, bias: bool = True):
        self.dense_h_to_4h = nn.Linear(width, hidden, bias)
        self.dense_4h_to_h = nn.Linear(hidden, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))


class NeoXBlock(nn.Module):
    """Run one transformer block: x + attention(norm1(x)) + mlp(norm2(x)), all (B, T, C)."""

    def __init__(self, config: GPTNeoXConfig, layer: int):
        self.parallel = config.parallel
        self.input_layernorm = nn.LayerNorm(config.width, eps=config.eps)
        self.post_attention_layernorm = nn.LayerNorm(config.width, eps=config.eps)
        self.attention = NeoXAttention(config)
        self.mlp = NeoXMLP(config.width, config.hidden)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        after = x + self.attention(self.input_layernorm(x), angles, cache, seen)
        return after + self.mlp(self.post_attention_layernorm(x if self.parallel else after))


class GPTNeoX(Llama):
    """A GPT-NeoX model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "gpt_neox"
    architecture = "GPTNeoXForCausalLM"
    config_class = GPTNeoXConfig
    PRESETS = PRESETS
    block = NeoXBlock
    norm = nn.LayerNorm
    layout = Layout(
        transposed=True,
        names=(("gpt_neox.embed_in.", "model.embed_tokens."), ("gpt_neox.layers.", "model.layers."),
               ("gpt_neox.final_layer_norm.", "model.norm."), ("embed_out.", "lm_head.")),
        ignored=r"model\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
        fixed={
            "hidden_act": ("gelu",), "attention_bias": (True,), "hidden_dropout": (0.0,),
            "head_dim": lambda config: (config.width // config.heads, None),
        },
    )
    residual_outputs = ("attention.dense.weight", "dense_4h_to_h.weight")
