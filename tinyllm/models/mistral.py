"""Define Mistral: LLaMA with a sliding window in attention. Jiang et al., "Mistral 7B", 2023."""

from dataclasses import dataclass

from tinyllm.config import setting
from tinyllm.models.layout import NO_BIAS
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.models.sizes import SIZE


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """The sizes of a Mistral: all sizes of LLaMA, and a window. Raises UserError if they are inconsistent."""

    window: int | None = setting(  # type: ignore[assignment]
        None, **SIZE, hf="sliding_window", help="how many tokens back it sees"
    )


class Mistral(Llama):
    """A Mistral model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "mistral"
    architecture = "MistralForCausalLM"
    config_class = MistralConfig
    layout = Llama.layout.extended(defaults={"num_key_value_heads": 8, "sliding_window": 4096}, fixed=NO_BIAS)
