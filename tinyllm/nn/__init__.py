"""Define parts of models: modules with named parameters, layers, attention, the KV cache, and passes."""

from functools import partial
from typing import TYPE_CHECKING

from tinyllm.errors import missing
from tinyllm.nn.attention import Attention, GroupedAttention, Rope, Seen, SelfAttention, rotate
from tinyllm.nn.cache import KVCache
from tinyllm.nn.init import Buffer, Parameter, full, init_normal, random_parameter, without_memory
from tinyllm.nn.language_model import DecoderLM, LanguageModel
from tinyllm.nn.layers import (
    MLP,
    Dropout,
    Embedding,
    GatedMLP,
    GeluMLP,
    Head,
    LayerNorm,
    Linear,
    Matrix,
    RMSNorm,
    Sequential,
)
from tinyllm.nn.lora import LoRALinear, adapt, adapter_state, adapters, load_adapter, merge
from tinyllm.nn.module import Module, inference, replace
from tinyllm.nn.passes import pack_cache, recompute, store_bf16, tap
from tinyllm.nn.quantized import Int4Linear, Int8Linear, bits_of, quantize

__all__ = [
    "MLP", "Attention", "Buffer", "DecoderLM", "Dropout", "Embedding", "GatedMLP", "GeluMLP",
    "GroupedAttention", "Head", "Int4Linear", "Int8Linear", "KVCache", "LanguageModel", "LayerNorm",
    "Linear", "LoRALinear", "Matrix", "Module", "Parameter", "RMSNorm", "Rope", "Seen", "SelfAttention",
    "Sequential", "adapt", "adapter_state", "adapters", "bits_of", "full", "inference", "init_normal",
    "load_adapter", "merge", "pack_cache", "quantize", "random_parameter", "recompute", "replace",
    "rotate", "store_bf16", "tap", "without_memory",
]

if not TYPE_CHECKING:
    __getattr__ = partial(missing, __name__)
    __dir__ = __all__.copy
