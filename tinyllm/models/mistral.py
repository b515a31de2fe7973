"""Mistral: LLaMA with a sliding window in attention. Jiang et al., "Mistral 7B", 2023."""

from dataclasses import dataclass
from typing import Any

from tinyllm.config import setting
from tinyllm.models.llama import COMMON, SIZE, Llama, LlamaConfig


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """The sizes of a Mistral: LLaMA's sizes and a window. Raises UserError if they are inconsistent."""

    window: int | None = setting(  # type: ignore[assignment]
        None, **SIZE, hf="sliding_window", help="how many tokens back it sees"
    )


class Mistral(Llama):
    """Mistral: tokens (B, T) -> logits (B, T, V)."""

    model_type = "mistral"
    architecture = "MistralForCausalLM"
    config_class = MistralConfig
    hf_settings = COMMON | {"sliding_window": lambda config: (config.window,)}  # written also if it is None

    @staticmethod
    def hf_read(config: dict[str, Any]) -> dict[str, Any]:
        """Return config.json with Mistral's defaults for settings that a file leaves out."""
        return Llama.hf_read({"num_key_value_heads": 8, "sliding_window": 4096} | config)
