"""Mistakes in low precision."""

import numpy as np

from tinyllm.ops import round_bf16
from tinyllm.testing.mistake import mistake


@mistake("round_bf16", "the lower 16 bits cut off, which rounds towards zero")
def truncates(x):
    return (np.array(x).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


@mistake("round_bf16", "ties rounded up, where they go to the even neighbour")
def rounds_ties_up(x):
    bits = np.array(x).view(np.uint32)
    rounded = (bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


@mistake("round_bf16", "float16, which has more digits and less range than bfloat16")
def is_float16(x):
    return x.astype(np.float16).astype(np.float32)


@mistake("round_bf16", "NaN rounded up into infinity or zero")
def loses_nan(x):
    bits = np.array(x).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)).view(np.float32)


@mistake("round_bf16", "8 mantissa bits kept, where bfloat16 has 7")
def keeps_one_more_bit(x):
    return (round_bf16(x) + round_bf16(x - round_bf16(x))) if x.size else round_bf16(x)
