"""Define LLaMA: GPT-2 with some parts replaced, complete in this file.

Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023. Differences from GPT-2:
RMSNorm, which does not subtract the mean; positions that rotate queries and keys (RoPE) instead of adding a
vector; a gate in the MLP (SwiGLU); no biases; an output layer that is not the embedding. Query heads may
share keys and values (grouped-query attention: Ainslie et al., "GQA", 2023) for a smaller KV cache.
Parameter names equal Hugging Face's checkpoints, which store the matrices of linear layers transposed.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinyllm import nn
from tinyllm.config import fill_in, setting
from tinyllm.errors import UserError, instead
from tinyllm.models.layout import Layout
from tinyllm.models.pretrained import Pretrained
from tinyllm.models.sizes import HIDDEN, OTHERS, PRESETS, SIZE, TIED, RotarySizes
from tinyllm.nn.attention import EVERYTHING, Angles, Past, Seen
from tinyllm.nn.language_model import Cache
from tinyllm.tensor import Tensor


@instead(**OTHERS)
@dataclass(frozen=True, kw_only=True)
class LlamaConfig(RotarySizes):
    """The sizes of a LLaMA: `LlamaConfig(vocab_size=65, **Llama.PRESETS["nano"])`; UserError if unfit."""

    hf = {"eps": "rms_norm_eps"}
    # Not settings, but a derived family may override them:
    qkv_bias, qk_norm, window, no_rope_every = False, False, None, None

    kv_heads: int | None = setting(None, **SIZE, hf="num_key_value_heads",
                                   help="K: heads of keys and values; none means H")
    hidden: int = setting(**HIDDEN, hf="intermediate_size")
    head_width: int | None = setting(None, **SIZE, hf="head_dim", help="D; none means width / heads")
    bias: bool = setting(False, hf="attention_bias", help="attention's linear layers add a bias")
    mlp_bias: bool = setting(False, hf="mlp_bias", help="the MLP's linear layers add a bias")
    tied: bool = setting(False, **TIED)
    # With 1, embeddings stand out in the residual stream, and attention learns sooner (docs/measured.md).
    embed_std: float | None = setting(None, above=0, max=10, hf="embedding_initializer_range",
                                      help="std of new embeddings, unless tied")

    def __post_init__(self):
        super().__post_init__()
        if self.head_size * self.heads == self.width:
            object.__setattr__(self, "head_width", None)  # so that configs of equal models are equal
        fill_in(self, kv_heads=self.heads)
        if self.heads % (self.kv_heads or self.heads):
            raise UserError(
                f"{self.heads} heads cannot share {self.kv_heads} kv_heads: make heads a multiple of kv_heads"
            )

    def check_heads(self) -> None:
        if (self.head_width is None and self.width % self.heads) or self.head_size % 2:
            raise UserError(
                f"{self.heads} heads cannot share a width of {self.width}: make it an even multiple, or set "
                "an even head_width"
            )

    @property
    def head_size(self) -> int:
        """Return D, the width of a head."""
        return self.head_width or self.width // self.heads

    rotary_width = head_size


class LlamaBlock(nn.Module):
    """Run one transformer block: x = x + attention(norm(x)), then x + mlp(norm(x)), all (B, T, C)."""

    def __init__(self, config: LlamaConfig, layer: int):
        self.input_layernorm = nn.RMSNorm(config.width, config.eps)
        self.self_attn = nn.GroupedAttention(
            config.width, config.heads, config.kv_heads, config.head_size, config.bias or config.qkv_bias,
            config.bias, config.eps if config.qk_norm else None, config.window,
        )
        self.post_attention_layernorm = nn.RMSNorm(config.width, config.eps)
        self.mlp = self.make_mlp(config)
        self.rotates = config.no_rope_every is None or (layer + 1) % config.no_rope_every > 0

    @staticmethod
    def make_mlp(config: Any) -> nn.Module:
        """Make the feed-forward part of a block. Families with another kind override this method."""
        return nn.GatedMLP(config.width, config.hidden, config.mlp_bias)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), angles if self.rotates else None, cache, seen)
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaBody(nn.Module):
    """Hold the embedding, and run the blocks and the last norm: x (B, T, C) -> (B, T, C)."""

    def __init__(self, config: Any, block: Any, norm: Any):
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = [block(config, i) for i in range(config.layers)]
        self.norm = norm(config.width, eps=config.eps)
        self.rope = nn.Rope(config.rotary_width, config.theta, config.scaling)

    def forward(self, x: Tensor, positions: np.ndarray, cache: Cache, seen: Seen) -> Tensor:
        angles = self.rope(positions)
        for i, layer in enumerate(self.layers):
            x = layer(x, angles, cache[i] if cache else None, seen)
        return self.norm(x)


class Llama(Pretrained, nn.DecoderLM):
    """A LLaMA model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "llama"
    architecture = "LlamaForCausalLM"
    config_class: ClassVar[type] = LlamaConfig
    PRESETS = {
        "laptop": {"layers": 4, "heads": 4, "width": 128, "hidden": 336, "context": 256,
                   "init_std": 128**-0.5, "embed_std": 1.0},
        "pairs": {"layers": 2, "heads": 4, "width": 64, "hidden": 176, "context": 256,
                  "init_std": 64**-0.5, "embed_std": 64**-0.5},
        "nano": PRESETS["nano"] | {"hidden": 336},
        "mini": PRESETS["mini"] | {"hidden": 1024},
        "small": PRESETS["small"] | {"hidden": 2048},
        # The largest of Karpathy's "stories" models, 2023; 134M parameters with an untied output layer:
        "llama-110m": {"vocab_size": 32000, **PRESETS["small"], "hidden": 2048},
    }
    layout = Layout(
        transposed=True,
        ignored=r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",
        defaults={"rms_norm_eps": 1e-6},
        fixed={
            "hidden_act": ("silu",),
            "head_dim": lambda config: (config.head_size, None),  # written also if it is width / heads
        },
    )
    block: ClassVar[type] = LlamaBlock
    norm: ClassVar[type] = nn.RMSNorm  # the class of the last norm
    residual_outputs = ("o_proj.weight", "down_proj.weight")

    def __init__(self, config: Any, seed: int | None = 0):
        self.config = config
        self.model = LlamaBody(config, self.block, self.norm)
        self.lm_head = nn.Head(self.model.embed_tokens.weight, config.tied)
        self.finish(seed)

    def first_std(self, name: str) -> float:
        """Return the standard deviation of a new weight, from `init_std`, or `embed_std` for embeddings."""
        given = None if self.config.tied else getattr(self.config, "embed_std", None)
        return super().first_std(name) if given is None or name != "model.embed_tokens.weight" else given

    def embed(self, tokens: np.ndarray, positions: np.ndarray) -> Tensor:
        """Look up the vectors of tokens (B, T) -> (B, T, C)."""
        return self.model.embed_tokens(tokens)

    def body(self, x: Tensor, positions: np.ndarray, cache: Cache, seen: Seen) -> Tensor:
        return self.model(x, positions, cache, seen)
