"""Lesson 15. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 15`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.

Functions that you wrote in earlier lessons may be copied in here.
"""

import numpy as np


def count_cache_bytes(tokens, layers, kv_heads, head_width, bits=32):
    """Count the bytes of a KV cache with this many tokens -> int.

    In each layer, every token has a key and a value for each kv head; both have
    head_width numbers of `bits` bits. The total is rounded down to whole bytes.
    """
    raise NotImplementedError


def parallel_block(x, heads, norm, widen, narrow, base=10000.0):
    """Apply PaLM's transformer block, attention and MLP side by side:
    x + attention(norm(x)) + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). norm is the weight and bias (C,) of the one
    layernorm. norm(x) is multiplied once, by widen (C, C + 2 D + F), with D = C
    / heads: the outputs are all of q, then one head k and one v that all query
    heads share, then the F channels of the MLP. rope turns q and k at positions
    0 .. T - 1 with this base; attention is causal; the activation is gelu_tanh.
    narrow (C + F, C) multiplies the joined outputs, attention's before the
    MLP's. No biases. The eps of the norm is 1e-5.
    """
    raise NotImplementedError
