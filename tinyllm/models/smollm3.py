"""Define SmolLM3: LLaMA without rotary positions in some of its layers. Bakouch et al., "SmolLM3", 2025.

Every fourth layer has no positions (NoPE), which helps with texts longer than in training. Source: Yang et
al., "Rope to Nope and Back Again", 2025.
"""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.models.layout import NO_WINDOW
from tinyllm.models.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class SmolLM3Config(LlamaConfig):
    """The sizes of a SmolLM3, and which layers have no positions. Raises UserError if inconsistent."""

    no_rope_every: int = setting(  # type: ignore[assignment]
        4, min=2, max=2**24, hf="no_rope_layer_interval", help="one layer in this many has no positions"
    )


class SmolLM3(Llama):
    """A SmolLM3 model: tokens (B, T) -> logits (B, T, V)."""

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
