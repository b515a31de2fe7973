"""Define DeepSeek-V3's attention in a LLaMA: the KV cache holds one short vector for each token.

DeepSeek-AI, "DeepSeek-V2", 2024, section 2.1 (multi-head latent attention). Differences from `llama.py`: keys
and values of all heads are made from one vector per token, and only some channels of a head are rotated.
Every block has LLaMA's MLP, and one matrix makes the queries. So DeepSeek's own checkpoints, with experts and
latent queries, are refused.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import tinyllm.functional as F
from tinyllm import nn
from tinyllm.config import fill_in, setting
from tinyllm.models.llama import Llama, LlamaBlock, LlamaConfig
from tinyllm.models.sizes import SIZE
from tinyllm.nn.attention import EVERYTHING, Angles, Past, Seen
from tinyllm.tensor import Tensor

EPS = 1e-6  # added in the norms of the short vectors; config.json has no setting for it


@dataclass(frozen=True, kw_only=True)
class DeepseekV3Config(LlamaConfig):
    """The sizes of a DeepSeek-V3: LLaMA's, and of latent vectors. Raises UserError if inconsistent."""

    head_width: int = setting(  # type: ignore[assignment]
        **SIZE, hf="qk_rope_head_dim", help="channels of a head that are rotated"
    )
    plain_width: int = setting(**SIZE, hf="qk_nope_head_dim", help="channels of a head that are not rotated")
    value_width: int = setting(**SIZE, hf="v_head_dim", help="the width of a head's values")
    latent: int = setting(**SIZE, hf="kv_lora_rank", help="width of what keys and values are made from")

    def __post_init__(self):
        super().__post_init__()
        fill_in(self, head_width=self.head_size)


class LatentAttention(nn.Attention):
    """Apply multi-head latent attention: one short vector per token gives the keys and values of all heads.

    x (B, T, C) -> (B, T, C). The key of a head is W c for a token's vector c. It is never computed: q . W c =
    (W^T q) . c, so W^T is applied to each query instead. All heads attend to the same vectors, c followed by
    a rotated part, and only these are cached. The vectors also serve as values; each head's matrix is
    applied to their average.
    """

    cache_parts = 1  # one array serves as keys and as values

    def __init__(self, config: DeepseekV3Config):
        c, rotated = config, config.head_size
        super().__init__(c.width, c.heads, 1, c.latent + rotated)
        self.latent, self.plain = c.latent, c.plain_width
        # F.attention divides by sqrt(latent + rotated) instead of sqrt(plain_width + rotated).
        self.scale = ((c.latent + rotated) / (c.plain_width + rotated)) ** 0.5
        self.q_proj = nn.Linear(c.width, c.heads * (c.plain_width + rotated), bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(c.width, c.latent + rotated, c.bias)
        self.kv_a_layernorm = nn.RMSNorm(c.latent, EPS)
        self.kv_b_proj = nn.Matrix(c.latent, c.heads * (c.plain_width + c.value_width))
        self.o_proj = nn.Linear(c.heads * c.value_width, c.width, c.bias)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        B, T, _ = x.shape
        q = self.q_proj(x).reshape(B, T, self.heads, -1)
        joint = self.kv_a_proj_with_mqa(x).reshape(B, T, 1, -1)
        weight = self.kv_b_proj.weight.reshape(self.latent, self.heads, -1).transpose(1, 0, 2)
        to_key, to_value = weight[..., : self.plain], weight[..., self.plain :]
        q = F.concat([
            per_head(q[..., : self.plain], to_key.transpose(0, 2, 1)),
            nn.rotate(halves(q[..., self.plain :]), angles),
        ])
        kv = F.concat([self.kv_a_layernorm(joint[..., : self.latent]),
                       nn.rotate(halves(joint[..., self.latent :]), angles)])
        y = self.mix(q * self.scale, kv, kv, cache, None, seen).reshape(B, T, self.heads, -1)
        return self.o_proj(per_head(y[..., : self.latent], to_value).reshape(B, T, -1))


def per_head(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply each head by its matrix: x (B, T, H, m), weight (H, m, n) -> (B, T, H, n)."""
    B, T, H, m = x.shape
    y = x.transpose(2, 0, 1, 3).reshape(H, B * T, m) @ weight
    return y.reshape(H, B, T, -1).transpose(1, 2, 0, 3)


def halves(x: Tensor) -> Tensor:
    """Move channels 2i and 2i + 1, which DeepSeek rotates as a pair, to i and i + D/2 for `rotate`."""
    return F.concat([x[..., 0::2], x[..., 1::2]])


class DeepseekV3Block(LlamaBlock):
    """Run one transformer block: x = x + attention(norm(x)), then x + mlp(norm(x)), all (B, T, C)."""

    def __init__(self, config: DeepseekV3Config, layer: int):
        super().__init__(config, layer)
        self.self_attn = LatentAttention(config)  # type: ignore[assignment]


class DeepseekV3(Llama):
    """A DeepSeek-V3 model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "deepseek_v3"
    architecture = "DeepseekV3ForCausalLM"
    config_class = DeepseekV3Config
    block = DeepseekV3Block
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        name: Llama.PRESETS[name] | {
            "head_width": width // 2, "plain_width": width, "value_width": width, "latent": 2 * width,
        }
        for name, width in (("nano", 32), ("mini", 64), ("small", 64))
    }
    layout = Llama.layout.extended(
        fixed={
            "q_lora_rank": (None,),
            "rope_interleave": (True,), "mlp_bias": (False,), "n_mtp": (None,),
            "first_k_dense_replace": lambda config: (config.layers,),  # no block has experts
            "num_key_value_heads": lambda config: (config.heads,),
            "head_dim": lambda config: (config.head_size,),
        },
    )
