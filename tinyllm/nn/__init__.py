"""Layers: modules with named parameters, attention, and the KV cache."""

from tinyllm.nn.attention import Rope, SelfAttention
from tinyllm.nn.cache import KVCache
from tinyllm.nn.checkpoint import checkpoint
from tinyllm.nn.decoder import DecoderLM
from tinyllm.nn.init import init_normal
from tinyllm.nn.layers import (
    IDENTITY,
    MLP,
    Dropout,
    Embedding,
    Head,
    Identity,
    LayerNorm,
    Linear,
    RMSNorm,
    side_by_side,
)
from tinyllm.nn.module import Buffer, Module, Parameter, full, inference, replace
from tinyllm.nn.quantized import Int4Linear, Int8Linear, quantize
from tinyllm.nn.summary import summarise

__all__ = [
    "IDENTITY",
    "MLP",
    "Buffer",
    "DecoderLM",
    "Dropout",
    "Embedding",
    "Head",
    "Identity",
    "Int4Linear",
    "Int8Linear",
    "KVCache",
    "LayerNorm",
    "Linear",
    "Module",
    "Parameter",
    "RMSNorm",
    "Rope",
    "SelfAttention",
    "checkpoint",
    "full",
    "inference",
    "init_normal",
    "quantize",
    "replace",
    "side_by_side",
    "summarise",
]
