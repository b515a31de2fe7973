"""Layers: modules with named parameters, attention, and the KV cache."""

from tinyllm.nn.attention import SelfAttention
from tinyllm.nn.cache import KVCache
from tinyllm.nn.checkpoint import checkpoint
from tinyllm.nn.init import init_normal
from tinyllm.nn.layers import (
    IDENTITY,
    MLP,
    Dropout,
    Embedding,
    Identity,
    LayerNorm,
    Linear,
    RMSNorm,
    side_by_side,
)
from tinyllm.nn.module import Buffer, Module, Parameter, inference
from tinyllm.nn.quantized import Int4Linear, Int8Linear, quantize

__all__ = [
    "IDENTITY",
    "MLP",
    "Buffer",
    "Dropout",
    "Embedding",
    "Identity",
    "Int4Linear",
    "Int8Linear",
    "KVCache",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "RMSNorm",
    "SelfAttention",
    "checkpoint",
    "inference",
    "init_normal",
    "quantize",
    "side_by_side",
]
