"""Models, one file for each family, and their weights in and out."""

from tinyllm.models.gpt import GPT, PRESETS, GPTConfig
from tinyllm.models.llama import LLAMA_PRESETS, Llama, LlamaConfig
from tinyllm.models.weights import load_weights, save_weights

__all__ = [
    "GPT",
    "LLAMA_PRESETS",
    "PRESETS",
    "GPTConfig",
    "Llama",
    "LlamaConfig",
    "load_weights",
    "save_weights",
]
