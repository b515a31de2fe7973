"""Define models: one file for each family, the registry of families, and reading and writing of weights."""

from tinyllm.models.gpt import GPT, GPTConfig
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.models.registry import build, family, from_pretrained, names
from tinyllm.models.weights import load_weights, save_weights

__all__ = [
    "GPT", "GPTConfig", "Llama", "LlamaConfig", "build", "family", "from_pretrained", "load_weights",
    "names", "save_weights",
]
