"""Define Qwen3: LLaMA with norms on queries and keys. Yang et al., "Qwen3 Technical Report", 2025."""

from dataclasses import dataclass

from tinyllm.models.layout import NO_WINDOW, read_window
from tinyllm.models.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class Qwen3Config(LlamaConfig):
    """The sizes of a Qwen3, the same as for LLaMA. Raises UserError if they are inconsistent."""

    qk_norm = True


class Qwen3(Llama):
    """A Qwen3 model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "qwen3"
    architecture = "Qwen3ForCausalLM"
    config_class = Qwen3Config
    layout = Llama.layout.extended(fixed=NO_WINDOW | {"mlp_bias": (False,)}, read=read_window)
