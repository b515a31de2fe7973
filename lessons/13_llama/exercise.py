"""Lesson 13. Put your own code in place of each `raise NotImplementedError`.

Then run `tinyllm check 13`.

What you are given must come back as it was. Numbers with a fraction are
float32, and so are results of them.

Functions that you wrote in earlier lessons may be copied in here.
"""

import numpy as np


def rmsnorm_backward(dy, x, w, rstd):
    """Compute the gradients of rmsnorm, y = x rstd w, where
    rstd = 1 / sqrt(mean(x^2) + eps) depends on x.

    dy, x (..., C), w (C,), rstd (...) -> dx (..., C), dw (C,).
    """
    raise NotImplementedError


def swiglu(gate, up):
    """Multiply `up` by silu of `gate`, the two halves of a layer:
    y = silu(gate) up.

    gate, up (...) of one shape -> (...).
    """
    raise NotImplementedError


def swiglu_backward(dy, gate, up):
    """Compute the gradients of swiglu.

    dy, gate, up (...) -> dgate, dup (...).
    """
    raise NotImplementedError


def llama_block(x, heads, norm_1, attend, norm_2, mlp, base=10000.0):
    """Apply LLaMA's transformer block: add attention to x, then a gated MLP,
    without biases.

    x (B, T, C) -> (B, T, C). norm_1 and norm_2 (C,) are weights of rmsnorm.
    attend holds four matrices, of queries (C, H D), of keys (C, K D), of values
    (C, K D) and of the output (H D, C), where H is heads and K follows from the
    widths; query head h reads kv head h // (H / K). rope turns queries and keys
    at positions 0 .. T - 1 with this base; attention is causal. mlp holds
    three: gate (C, F), up (C, F) and down (F, C). The eps of the norms is 1e-5.
    """
    raise NotImplementedError


def scaled_rope_tables(positions, width, base, scaling):
    """Tabulate cosines and sines for a context `factor` times as long as the
    training context.

    The tables are as in rope_tables. scaling is like Hugging Face's
    rope_scaling; its "rope_type" is one of:
    "linear"  every frequency f becomes f / factor
    "ntk"     the base becomes base * factor^(width / (width - 2)): the slowest
              pair turns at f / factor, the fastest at f
    "llama3"  pairs with many turns in the training context,
              original_max_position_embeddings tokens, keep f, pairs with few
              get f / factor, and pairs between low_freq_factor and
              high_freq_factor turns a mean of both
    "yarn"    the same with beta_slow and beta_fast turns, and cos and sin are
              multiplied by attention_factor, by default (or if None) 1 + 0.1
              ln(factor), or 1 if factor < 1

    The mean is kept f + (1 - kept) f / factor. For llama3, kept grows from 0 to
    1 with the number of turns. For yarn, it falls from 1 to 0 with the index of
    the pair, from the pair with beta_fast turns, rounded down, to the pair
    with beta_slow turns, rounded up; by default 32 and 1 turns. The pair with n
    turns has the index width ln(context / (2 pi n)) / (2 ln base). The first
    end is at least 0, the last at most width - 1; if they are equal, the last
    is 0.001 more. They are not rounded if "truncate" is False. In ntk, width -
    2 is at least 1. Angles are computed in float64, and the tables are float32.
    """
    raise NotImplementedError
