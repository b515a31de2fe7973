"""Define families that are LLaMA with one thing changed: Mistral, Qwen2, Qwen3 and SmolLM3."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.models.layout import NO_BIAS, NO_WINDOW, read_window
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.models.sizes import SIZE


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """The sizes of a Mistral: all sizes of LLaMA, and a window. Raises UserError if they are inconsistent."""

    window: int | None = setting(  # type: ignore[assignment]
        None, **SIZE, hf="sliding_window", help="how many tokens back it sees"
    )


class Mistral(Llama):
    """A Mistral model, with a sliding window in attention (Jiang et al., "Mistral 7B", 2023)."""

    model_type = "mistral"
    architecture = "MistralForCausalLM"
    config_class = MistralConfig
    layout = Llama.layout.extended(defaults={"num_key_value_heads": 8, "sliding_window": 4096}, fixed=NO_BIAS)


@dataclass(frozen=True)
class Qwen2Config(LlamaConfig):
    """The sizes of a Qwen2, the same as for LLaMA. Raises UserError if they are inconsistent."""

    qkv_bias = True


class Qwen2(Llama):
    """A Qwen2 model, with biases on q, k and v (Yang et al., "Qwen2 Technical Report", 2024)."""

    model_type = "qwen2"
    architecture = "Qwen2ForCausalLM"
    config_class = Qwen2Config
    layout = Llama.layout.extended(fixed=NO_BIAS | NO_WINDOW, read=read_window)


@dataclass(frozen=True)
class Qwen3Config(LlamaConfig):
    """The sizes of a Qwen3, the same as for LLaMA. Raises UserError if they are inconsistent."""

    qk_norm = True


class Qwen3(Llama):
    """A Qwen3 model, with norms on queries and keys (Yang et al., "Qwen3 Technical Report", 2025)."""

    model_type = "qwen3"
    architecture = "Qwen3ForCausalLM"
    config_class = Qwen3Config
    layout = Llama.layout.extended(fixed=NO_WINDOW | {"mlp_bias": (False,)}, read=read_window)


@dataclass(frozen=True)
class SmolLM3Config(LlamaConfig):
    """The sizes of a SmolLM3, and which layers have no positions. Raises UserError if inconsistent."""

    no_rope_every: int = setting(  # type: ignore[assignment]
        4, min=2, max=2**24, hf="no_rope_layer_interval", help="one layer in this many has no positions"
    )


class SmolLM3(Llama):
    """A SmolLM3 model, in which every fourth layer has no positions (Bakouch et al., "SmolLM3", 2025).

    This helps with texts longer than in training (Yang et al., "Rope to Nope and Back Again", 2025).
    """

    model_type = "smollm3"
    architecture = "SmolLM3ForCausalLM"
    config_class = SmolLM3Config
    layout = Llama.layout.extended(
        defaults={"tie_word_embeddings": True, "rope_theta": 2000000.0},
        fixed=NO_WINDOW | {
            "no_rope_layers": lambda config: (
                [int((i + 1) % config.no_rope_every > 0) for i in range(config.layers)], None,
            ),
        },
    )
