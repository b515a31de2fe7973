"""Define GPT-2, a stack of transformer blocks; complete in this file.

Radford, Wu, Child, Luan, Amodei and Sutskever, "Language Models are Unsupervised Multitask Learners",
2019. Layout and parameter names equal GPT-2's checkpoint, so the published weights load as they are.
"""

from dataclasses import dataclass

import numpy as np

from tinyllm import nn
from tinyllm.config import setting
from tinyllm.errors import instead
from tinyllm.models.layout import Layout
from tinyllm.models.pretrained import Pretrained
from tinyllm.models.sizes import OTHERS, PART, PRESETS, Sizes
from tinyllm.nn.attention import EVERYTHING, Seen
from tinyllm.nn.language_model import Cache
from tinyllm.tensor import Tensor


@instead(**OTHERS)
@dataclass(frozen=True, kw_only=True)
class GPTConfig(Sizes):
    """The sizes of a GPT: `GPTConfig(vocab_size=65, **GPT.PRESETS["nano"])`; UserError if unfit."""

    hf = {"context": "n_positions", "layers": "n_layer", "heads": "n_head", "width": "n_embd",
          "dropout": ("resid_pdrop", "embd_pdrop"), "eps": "layer_norm_epsilon"}

    dropout: float = setting(0.0, **PART, help="the part of numbers set to zero")


class Block(nn.Module):
    """Run one transformer block: x = x + attention(norm(x)), then x + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). The sums form the residual stream through all blocks; attention and MLP each
    read a normalised copy of the stream and add their result to it.
    """

    def __init__(self, config: GPTConfig):
        self.ln_1 = nn.LayerNorm(config.width, config.eps)
        self.attn = nn.SelfAttention(config.width, config.heads)
        self.ln_2 = nn.LayerNorm(config.width, config.eps)
        self.mlp = nn.MLP(config.width, 4 * config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: nn.KVCache | None = None, seen: Seen = EVERYTHING) -> Tensor:
        x = x + self.drop(self.attn(self.ln_1(x), cache, seen))
        return x + self.drop(self.mlp(self.ln_2(x)))


class GPT(Pretrained, nn.DecoderLM):
    """A GPT-2 model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "gpt2"
    architecture = "GPT2LMHeadModel"
    config_class = GPTConfig
    PRESETS = PRESETS
    layout = Layout(
        prefix="transformer.",
        ignored=r"h\.\d+\.attn\.(masked_)?bias",  # the causal masks
        defaults={"resid_pdrop": 0.1, "embd_pdrop": 0.1},
        fixed={
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "n_inner": lambda config: (None, 4 * config.width),
            "scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,),
            "tie_word_embeddings": (True,),
        },
    )
    residual_outputs = ("c_proj.weight",)

    @instead(vocab_size="GPT(GPTConfig(vocab_size=...))")
    def __init__(self, config: GPTConfig, seed: int | None = 0):
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.width)  # what a token means
        self.wpe = nn.Embedding(config.context, config.width)  # its position
        self.drop = nn.Dropout(config.dropout)
        self.h = [Block(config) for _ in range(config.layers)]
        self.ln_f = nn.LayerNorm(config.width, config.eps)
        self.lm_head = nn.Head(self.wte.weight)  # the embedding is also the output layer
        self.finish(seed)

    def embed(self, tokens: np.ndarray, positions: np.ndarray) -> Tensor:
        """Add the vectors of tokens and of positions: two arrays of ints (B, T) -> (B, T, C)."""
        return self.drop(self.wte(tokens) + self.wpe(positions))

    def body(self, x: Tensor, positions: np.ndarray, cache: Cache, seen: Seen) -> Tensor:
        for i, block in enumerate(self.h):
            x = block(x, cache[i] if cache else None, seen)
        return self.ln_f(x)
