"""Define DeepSeek-V3: LLaMA with a latent KV cache, and experts that are balanced without a loss.

DeepSeek-AI, "DeepSeek-V2", 2024, section 2.1 (multi-head latent attention), and "DeepSeek-V3 Technical
Report", 2024, section 2.1. Differences from `llama.py`: keys and values of all heads are made from one short
vector per token, and the cache holds only this vector; only some channels of a head are rotated; and blocks
after the first few have experts, some of which every token uses. Each expert has a bias, which is added to
its score when experts are chosen; the bias grows while the expert gets too few tokens.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import tinyllm.functional as F
from tinyllm import nn
from tinyllm.config import fill_in, setting
from tinyllm.errors import UserError
from tinyllm.models.llama import PRESETS, Llama, LlamaBlock, LlamaConfig
from tinyllm.models.sizes import SIZE
from tinyllm.nn.attention import Angles, Past, yarn_growth
from tinyllm.nn.seen import EVERYTHING, Seen
from tinyllm.ops import balance_bias
from tinyllm.ops.experts import expert_counts
from tinyllm.tensor import Tensor

EXPERTS = "n_routed_experts", "num_local_experts"
EPS = 1e-6  # of the norms of short vectors, which config.json does not mention


@dataclass(frozen=True, kw_only=True)
class DeepseekV3Config(LlamaConfig):
    """The sizes of a DeepSeek-V3: all sizes of LLaMA, and the sizes of the latent vectors and the experts.

    Raises UserError if they are inconsistent.
    """

    head_width: int = setting(  # type: ignore[assignment]
        **SIZE, hf="qk_rope_head_dim", help="channels of a head that are rotated"
    )
    plain_width: int = setting(**SIZE, hf="qk_nope_head_dim", help="channels of a head that are not rotated")
    value_width: int = setting(**SIZE, hf="v_head_dim", help="the width of a head's values")
    latent: int = setting(**SIZE, hf="kv_lora_rank", help="width of what keys and values are made from")
    query_latent: int | None = setting(None, **SIZE, hf="q_lora_rank", help="the same for queries; none: C")
    experts: int = setting(8, **SIZE, hf=EXPERTS, help="E: how many experts to choose from")
    top: int = setting(2, **SIZE, hf="num_experts_per_tok", help="how many of them a token uses")
    shared: int = setting(1, **SIZE, hf="n_shared_experts", help="experts that every token uses")
    expert_hidden: int = setting(**SIZE, hf="moe_intermediate_size", help="the inner width of an expert")
    dense_layers: int = setting(1, min=0, hf="first_k_dense_replace", help="first blocks, without experts")
    groups: int = setting(1, **SIZE, hf="n_group", help="groups of experts")
    top_groups: int = setting(1, **SIZE, hf="topk_group", help="groups that a token's experts come from")
    normalise: bool = setting(True, hf="norm_topk_prob", help="the weights of chosen experts have the sum 1")
    weight: float = setting(1.0, above=0, hf="routed_scaling_factor", help="multiplies the experts' results")
    balance_rate: float = setting(0.001, min=0, max=1, help="how far the bias of an expert moves in a step")

    def __post_init__(self):
        super().__post_init__()
        fill_in(self, head_width=self.head_size)
        per_group = self.experts // self.groups
        if self.experts % self.groups or per_group < 2 or self.top_groups > self.groups:
            raise UserError(f"{self.experts} experts do not make {self.groups} groups of two or more")
        if self.top > per_group * self.top_groups:
            raise UserError(f"a token cannot use top = {self.top} of {per_group * self.top_groups} experts")


class LatentAttention(nn.Attention):
    """Apply multi-head latent attention: one short vector per token gives the keys and values of all heads.

    x (B, T, C) -> (B, T, C). The key of a head is W c for a token's vector c. It is never computed: q . W c =
    (W^T q) . c, so W^T is applied to each query instead. All heads attend to the same vectors, which are c
    and a rotated part behind it, and only these are cached. The vectors also serve as values; each head's
    matrix is applied to their average.
    """

    cache_class = nn.LatentCache

    def __init__(self, config: DeepseekV3Config):
        c, rotated = config, config.head_size
        super().__init__(c.width, c.heads, 1, None, c.attention_dropout, c.latent + rotated)
        self.latent, self.plain = c.latent, c.plain_width
        scale = (c.latent + rotated) / (c.plain_width + rotated)
        self.scale = scale**0.5  # F.attention divides by sqrt(latent + rotated)
        self.scale *= yarn_growth(c.scaling or {}, "mscale_all_dim") ** 2
        inner = c.heads * (c.plain_width + rotated)
        if c.query_latent is None:
            self.q_proj = nn.Linear(c.width, inner, bias=False)
        else:
            self.q_a_proj = nn.Linear(c.width, c.query_latent, c.bias)
            self.q_a_layernorm = nn.RMSNorm(c.query_latent, EPS)
            self.q_b_proj = nn.Linear(c.query_latent, inner, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(c.width, c.latent + rotated, c.bias)
        self.kv_a_layernorm = nn.RMSNorm(c.latent, EPS)
        self.kv_b_proj = nn.Matrix(c.latent, c.heads * (c.plain_width + c.value_width))
        self.o_proj = nn.Linear(c.heads * c.value_width, c.width, c.bias)

    def queries(self, x: Tensor) -> Tensor:
        """Return the queries of all heads: x (B, T, C) -> (B, T, H, width without rope + width with rope)."""
        short = "q_a_proj" in vars(self)
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x))) if short else self.q_proj(x)
        return q.reshape(*x.shape[:2], self.heads, -1)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        B, T, _ = x.shape
        q, joint = self.queries(x), self.kv_a_proj_with_mqa(x).reshape(B, T, 1, -1)
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


class BalancedExperts(nn.Experts):
    """Apply experts chosen by sigmoid scores plus a bias, and shared experts that every token uses.

    x (B, T, C) -> (B, T, C). The bias changes which experts are chosen, but not the weights of their results.
    After each training step the bias rises for experts with less than their share of tokens, and falls for
    the others (Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for Mixture-of-Experts", 2024).
    """

    def __init__(self, config: DeepseekV3Config):
        c = config
        super().__init__(c.width, c.expert_hidden, c.experts, c.top, c.normalise)
        self.shared_experts = nn.GatedMLP(c.width, c.expert_hidden * c.shared)
        self.correction = nn.Buffer(nn.full(c.experts))
        self.load = np.zeros(c.experts, np.int64)  # tokens of each expert in this process's pieces of a batch
        self.config = c

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shared_experts(x)

    def route(self, rows: Tensor) -> tuple[Tensor, np.ndarray]:
        c, n = self.config, rows.shape[0]
        scores = F.sigmoid(self.gate(rows))
        wanted = scores.data + self.correction.data
        if c.groups > 1:  # keep groups with the largest sum of their two best scores
            grouped = wanted.reshape(n, c.groups, -1)
            best = np.sort(grouped, axis=-1)[..., -2:].sum(axis=-1)
            kept = np.argsort(-best, axis=-1, kind="stable")[:, : c.top_groups]
            hidden = np.ones((n, c.groups, 1), bool)
            np.put_along_axis(hidden, kept[..., None], False, axis=1)
            wanted = np.where(hidden, -np.inf, grouped).reshape(n, -1)
        weights, chosen = self.weigh(scores, wanted)
        if self.training and self.gate.weight.requires_grad:  # a frozen router keeps its bias
            self.load = self.load + expert_counts(chosen, c.experts)
        return weights * c.weight, chosen

    def after_step(self, group: Any) -> None:
        load = np.sum(group.gather(self.load), axis=0)
        self.correction.data = balance_bias(self.correction.data, load, self.config.balance_rate)
        self.load = np.zeros_like(self.load)


class DeepseekV3Block(LlamaBlock):
    """Run one transformer block: x = x + attention(norm(x)), then x + mlp(norm(x)), all (B, T, C)."""

    def __init__(self, config: DeepseekV3Config, layer: int):
        self.input_layernorm = nn.RMSNorm(config.width, config.eps)
        self.self_attn = LatentAttention(config)  # type: ignore[assignment]
        self.post_attention_layernorm = nn.RMSNorm(config.width, config.eps)
        dense = layer < config.dense_layers
        self.mlp = nn.GatedMLP(config.width, config.hidden) if dense else BalancedExperts(config)
        self.rotates = True


class DeepseekV3(Llama):
    """A DeepSeek-V3 model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "deepseek_v3"
    architecture = "DeepseekV3ForCausalLM"
    config_class = DeepseekV3Config
    block = DeepseekV3Block
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        name: PRESETS[name] | {
            "head_width": width // 2, "plain_width": width, "value_width": width, "latent": 2 * width,
            "expert_hidden": PRESETS[name]["hidden"] // 4, "experts": 8, "top": 2,
        }
        for name, width in (("nano", 32), ("mini", 64), ("small", 64))
    }
    layout = Llama.layout.extended(
        defaults={"n_group": 8, "topk_group": 4, "num_experts_per_tok": 8, "first_k_dense_replace": 3,
                  "routed_scaling_factor": 2.5, "q_lora_rank": 1536, "n_routed_experts": 256},
        fixed={
            "rope_interleave": (True,), "mlp_bias": (False,), "n_mtp": (None,),
            "num_key_value_heads": lambda config: (config.heads,),
            "head_dim": lambda config: (config.head_size,),
        },
        names=(("gate.e_score_correction_bias", "correction"),),
    )
