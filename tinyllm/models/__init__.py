"""Define models: one file for each family, the registry of families, and reading and writing of weights."""

from tinyllm.models.gpt import GPT, GPTConfig
from tinyllm.models.llama import Llama, LlamaConfig
from tinyllm.models.registry import build, family, family_of, from_pretrained, locate, names
from tinyllm.models.weights import Origin, hash_weights, load_weights, save_weights

__all__ = [
    "GPT", "GPTConfig", "Llama", "LlamaConfig", "Origin", "build", "family", "family_of", "from_pretrained",
    "hash_weights", "load_weights", "locate", "names", "save_weights",
]
