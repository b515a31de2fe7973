"""Define Fuyu, a decoder that also reads pictures.

Bavishi et al., "Fuyu-8B: A Multimodal Architecture for AI Agents", Adept, 2023. A picture is cut into
patches, and one linear layer turns the pixels of each patch into a vector. The text contains a special token,
the mark, for each patch; the patch's vector replaces the vector of its mark. From there on, patches are
treated as words: each sees the patches before it and none after it. There is no separate encoder of pictures.
Without a picture, a mark is a token like any other. The decoder is Persimmon (Elsen et al., 2023), which
differs from LLaMA in four points: norms subtract the mean; each head's queries and keys have a norm, so that
their products cannot grow without limit; half of each head is rotated; and the MLP squares relu (So et al.,
"Primer", 2021).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import tinyllm.functional as F
from tinyllm import nn, ops
from tinyllm.arrays import ArrayLike
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.models.layout import Json, Layout, object_in
from tinyllm.models.llama import LlamaBody
from tinyllm.models.pretrained import Pretrained
from tinyllm.models.sizes import HIDDEN, SIZE, THETA, WITH_HIDDEN, RotarySizes
from tinyllm.nn.attention import EVERYTHING, Angles, Past, Seen
from tinyllm.nn.language_model import Cache
from tinyllm.tensor import Tensor

COLOURS = 3  # channels of a pixel: red, green, blue


@dataclass(frozen=True, kw_only=True)
class FuyuConfig(RotarySizes):
    """The sizes of a Fuyu, and of the pictures that it sees. Raises UserError if they are inconsistent."""

    head_parts = 4  # half of each head is rotated, in pairs

    hidden: int = setting(**HIDDEN, hf="intermediate_size")
    side: int = setting(16, **SIZE, hf="image_size", help="how many dots a picture is wide and high")
    patch: int = setting(4, **SIZE, hf="patch_size", help="how many dots a patch is wide and high")
    picture: int = setting(0, min=0, max=2**24, hf="image_token_id", help="the token that marks a patch")
    theta: float = setting(25000.0, **THETA, hf="rope_theta")

    def __post_init__(self):
        super().__post_init__()
        if self.side % self.patch:
            raise UserError(f"patches of {self.patch} do not fill a side of {self.side}: make it a multiple")
        if self.picture >= self.vocab_size:
            raise UserError(f"picture: token {self.picture} is outside of a vocabulary of {self.vocab_size}")

    @property
    def rotary_width(self) -> int:
        """Return the number of channels of a head that are rotated: half of the head."""
        return self.width // self.heads // 2


def read_text(config: Json) -> Json:
    """Return a config.json with the settings of its text_config, which take precedence, among the others.

    As in transformers, outer rope settings have no effect beside a text_config, and rope_parameters never.
    """
    text = object_in(config, "text_config")
    ignored = ("rope_parameters", "rope_scaling", "rope_theta") if text else ("rope_parameters",)
    return {name: value for name, value in config.items() if name not in ignored} | text


class FuyuAttention(nn.Attention):
    """Apply attention; one layer makes q, k and v of head 0, then head 1, ...: x (B, T, C) -> (B, T, C)."""

    def __init__(self, config: FuyuConfig):
        super().__init__(config.width, config.heads)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.dense = nn.Linear(config.width, config.width)
        self.q_layernorm = nn.LayerNorm(self.head_width, eps=config.eps)
        self.k_layernorm = nn.LayerNorm(self.head_width, eps=config.eps)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        B, T, _ = x.shape
        q, k, v = F.split(self.query_key_value(x).reshape(B, T, self.heads, 3 * self.head_width), 3)
        return self.dense(self.mix(self.q_layernorm(q), self.k_layernorm(k), v, cache, angles, seen))


class FuyuMLP(nn.GeluMLP):
    """Apply a feed-forward block: widen, apply relu, square, narrow: x (..., C) -> (..., C)."""

    def forward(self, x: Tensor) -> Tensor:
        positive = F.relu(self.dense_h_to_4h(x))
        return self.dense_4h_to_h(positive * positive)


class FuyuBlock(nn.Module):
    """Run one transformer block: x = x + attention(norm(x)), then x + mlp(norm(x)), all (B, T, C)."""

    def __init__(self, config: FuyuConfig, layer: int):
        self.input_layernorm = nn.LayerNorm(config.width, eps=config.eps)
        self.self_attn = FuyuAttention(config)
        self.post_attention_layernorm = nn.LayerNorm(config.width, eps=config.eps)
        self.mlp = FuyuMLP(config.width, config.hidden)

    def forward(self, x: Tensor, angles: Angles, cache: Past = None, seen: Seen = EVERYTHING) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), angles, cache, seen)
        return x + self.mlp(self.post_attention_layernorm(x))


class Fuyu(Pretrained, nn.DecoderLM):
    """A Fuyu model: tokens (B, T), with a mark for each patch of the pictures -> logits (B, T, V)."""

    model_type = "fuyu"
    architecture = "FuyuForCausalLM"
    config_class = FuyuConfig
    PRESETS = WITH_HIDDEN | {"nano": WITH_HIDDEN["nano"] | {"layers": 3, "context": 128}}
    special_tokens: ClassVar[dict[str, str]] = {"picture": "<|picture|>"}
    token_settings: ClassVar[dict[str, str]] = {"picture": "picture"}
    layout = Layout(
        prefix="model.",
        transposed=True,
        old=(("language_model.model.", "language_model."), ("language_model.lm_head.", "lm_head.")),
        names=(("language_model.final_layernorm.", "language_model.norm."),),
        defaults={"image_size": 300, "patch_size": 30, "image_token_id": 71011, "rope_theta": 10000.0},
        fixed={
            "hidden_act": ("relu2",), "qk_layernorm": (True,), "num_channels": (COLOURS,),
            "partial_rotary_factor": (0.5,), "tie_word_embeddings": (False,),
        },
        read=read_text,
    )
    residual_outputs = ("self_attn.dense.weight", "dense_4h_to_h.weight")

    def __init__(self, config: FuyuConfig, seed: int | None = 0):
        self.config = config
        self.picture_marks = [config.picture] * (config.side // config.patch) ** 2
        self.vision_embed_tokens = nn.Linear(config.patch**2 * COLOURS, config.width)
        self.vision_embed_tokens.reached = 0.0  # FLOPs are counted without pictures
        self.language_model = LlamaBody(config, FuyuBlock, nn.LayerNorm)
        self.lm_head = nn.Head(self.language_model.embed_tokens.weight, tied=False)
        self.finish(seed)

    def embed(self, tokens: np.ndarray, positions: np.ndarray, pictures: ArrayLike | None = None) -> Tensor:
        """Look up the vectors of tokens (B, T) -> (B, T, C).

        The patches of `pictures`, bytes (N, side, side, 3), replace the tokens that equal `config.picture`,
        in reading order. Raises UserError unless there are as many patches as such tokens.
        """
        x = self.language_model.embed_tokens(tokens)
        if pictures is None:
            return x
        dots, side = np.asarray(pictures), self.config.side
        if dots.shape[1:] != (side, side, COLOURS) or dots.dtype != np.uint8:
            raise UserError(f"the model reads pictures of {side} x {side} dots, uint8 (B, {side}, {side}, "
                            f"{COLOURS}), got {dots.dtype} {dots.shape}")
        patches = ops.patches(dots, self.config.patch).astype(np.float32) / 127.5 - 1  # from -1 to 1
        vectors = self.vision_embed_tokens(self.language_model.embed_tokens.weight.like(patches))
        at = tokens == self.config.picture
        if (found := int(at.sum())) != (count := vectors.shape[0] * vectors.shape[1]):
            raise UserError(f"the tokens have {found} marks for {count} patches: put picture_marks there")
        return F.apply(ops.place, x, vectors.reshape(count, x.shape[2]), at)

    def read(self, pictures: ArrayLike) -> list[nn.KVCache]:
        rows = len(np.asarray(pictures))
        cache = self.new_cache(rows, len(self.picture_marks))
        with nn.inference(self):
            self.hidden([self.picture_marks] * rows, cache, pictures=pictures)
        return cache

    def body(self, x: Tensor, positions: np.ndarray, cache: Cache, seen: Seen) -> Tensor:
        return self.language_model(x, positions, cache, seen)
