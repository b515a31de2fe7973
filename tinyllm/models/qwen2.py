"""Define Qwen2: LLaMA with biases on q, k and v. Yang et al., "Qwen2 Technical Report", 2024."""

from dataclasses import dataclass

from tinyllm.models.layout import NO_BIAS, NO_WINDOW, read_window
from tinyllm.models.llama import Llama, LlamaConfig


@dataclass(frozen=True)
class Qwen2Config(LlamaConfig):
    """The sizes of a Qwen2, the same as for LLaMA. Raises UserError if they are inconsistent."""

    qkv_bias = True


class Qwen2(Llama):
    """A Qwen2 model: tokens (B, T) -> logits (B, T, V)."""

    model_type = "qwen2"
    architecture = "Qwen2ForCausalLM"
    config_class = Qwen2Config
    layout = Llama.layout.extended(fixed=NO_BIAS | NO_WINDOW, read=read_window)
