"""Define the blocks of GPT-2, LLaMA and PaLM as functions of weights; count what they cost.

The models are made of modules (`tinyllm/models/`), which hold the weights. Each function here computes the
same block in one place, and tests compare the two.
"""

import numpy as np

from tinyllm.ops.attention import attention
from tinyllm.ops.elementwise import add, gelu_tanh, swiglu
from tinyllm.ops.matmul import linear
from tinyllm.ops.norm import layernorm, rmsnorm
from tinyllm.ops.registry import op
from tinyllm.ops.rope import rope, rope_tables
from tinyllm.ops.shapes import Array

Pair = list[Array]  # a weight and a bias


@op
def transformer_block(x: Array, heads: int, norm_1: Pair, qkv: Pair, project: Pair, norm_2: Pair, widen: Pair,
                      narrow: Pair) -> Array:
    """Apply GPT-2's transformer block: x = x + attention(norm(x)), then x + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). The six arguments after heads are pairs [weight, bias], with the weights norm_1
    and norm_2 (C,), qkv (C, 3 C), project (C, C), widen (C, 4 C) and narrow (4 C, C). The outputs of qkv are
    all of q, then all of k, then all of v. Channels are cut into heads of C / heads each; attention is
    causal; the activation is gelu_tanh. Raises ValueError when C is not a multiple of heads. (Radford et al.
    2019, section 2.3.)
    """
    B, T, C = x.shape
    if C % heads:
        raise ValueError(f"{heads} heads cannot share a width of {C}: make it a multiple of heads")
    mixed = linear(layernorm(x, *norm_1)[0], *qkv)
    q, k, v = (mixed[..., i * C : (i + 1) * C].reshape(B, T, heads, C // heads) for i in range(3))
    x = add(x, linear(attention(q, k, v)[0].reshape(B, T, C), *project))
    return add(x, linear(gelu_tanh(linear(layernorm(x, *norm_2)[0], *widen)), *narrow))


@op
def llama_block(x: Array, heads: int, norm_1: Array, attend: list[Array], norm_2: Array, mlp: list[Array],
                base: float = 10000.0) -> Array:
    """Apply LLaMA's transformer block: add attention to x, then a gated MLP, without biases.

    x (B, T, C) -> (B, T, C). norm_1 and norm_2 (C,) are weights of rmsnorm. attend holds four matrices, of
    queries (C, H D), of keys (C, K D), of values (C, K D) and of the output (H D, C), where H is heads and K
    follows from the widths; query head h reads kv head h // (H / K). rope turns queries and keys at positions
    0 .. T - 1 with this base; attention is causal. mlp holds three: gate (C, F), up (C, F) and down (F, C).
    (Touvron et al. 2023, section 2.2.)
    """
    B, T = x.shape[:2]
    D = attend[0].shape[1] // heads
    n = rmsnorm(x, norm_1)[0]
    q, k, v = (linear(n, w).reshape(B, T, w.shape[1] // D, D) for w in attend[:3])
    tables = rope_tables(np.arange(T), D, base)
    y = attention(rope(q, *tables), rope(k, *tables), v)[0]
    x = add(x, linear(y.reshape(B, T, heads * D), attend[3]))
    n = rmsnorm(x, norm_2)[0]
    return add(x, linear(swiglu(linear(n, mlp[0]), linear(n, mlp[1])), mlp[2]))


@op
def parallel_block(x: Array, heads: int, norm: Pair, widen: Array, narrow: Array,
                   base: float = 10000.0) -> Array:
    """Apply PaLM's transformer block, attention and MLP side by side: x + attention(norm(x)) + mlp(norm(x)).

    x (B, T, C) -> (B, T, C). norm is the weight and bias (C,) of the one layernorm. norm(x) is multiplied
    once, by widen (C, C + 2 D + F), with D = C / heads: the outputs are all of q, then one head k and one v
    that all query heads share, then the F channels of the MLP. rope turns q and k at positions 0 .. T - 1
    with this base; attention is causal; the activation is gelu_tanh. narrow (C + F, C) multiplies the joined
    outputs, attention's before the MLP's. No biases. (Chowdhery et al. 2022, section 2; Shazeer 2019.)
    """
    B, T, C = x.shape
    D = C // heads
    q, k, v, h = np.split(linear(layernorm(x, *norm)[0], widen), [C, C + D, C + 2 * D], axis=-1)
    tables = rope_tables(np.arange(T), D, base)
    q, k, v = rope(q.reshape(B, T, heads, D), *tables), rope(k[:, :, None], *tables), v[:, :, None]
    y = attention(q, k, v)[0].reshape(B, T, C)
    return add(x, linear(np.concatenate([y, gelu_tanh(h)], axis=-1), narrow))


@op
def count_cache_bytes(tokens: int, layers: int, kv_heads: int, head_width: int, bits: int = 32) -> int:
    """Count the bytes of a KV cache with this many tokens -> int.

    In each layer, every token has a key and a value for each kv head; both have head_width numbers of `bits`
    bits. The total is rounded down to whole bytes.
    """
    return 2 * tokens * layers * kv_heads * head_width * bits // 8


@op
def count_parameters(vocab_size: int, context: int, layers: int, width: int) -> int:
    """Count the parameters of a GPT-2 of these sizes -> int.

    There are two tables of embeddings, for tokens and for positions; in each layer two norms and the matrices
    of `transformer_block`, all with biases; and a last norm. The output layer shares the table of tokens and
    adds no parameters.
    """
    norm = 2 * width
    attention_part = width * 3 * width + 3 * width + width * width + width
    mlp = width * 4 * width + 4 * width + 4 * width * width + width
    return (vocab_size + context) * width + layers * (2 * norm + attention_part + mlp) + norm


@op
def count_flops(vocab_size: int, context: int, layers: int, width: int) -> int:
    """Count the operations of a GPT-2's forward pass over `context` tokens -> int.

    A multiplication and an addition are two operations. Only matrix products, the output layer's too, and
    attention count; in attention, each query is multiplied with the keys up to and including its own token,
    and as many values are weighted and summed. Norms, activations and sums are left out: about one percent.
    """
    matrices = 12 * width * width  # weights of qkv (3 width^2), project (1), widen (4) and narrow (4)
    pairs = context * (context + 1) // 2
    return layers * (2 * context * matrices + 4 * pairs * width) + 2 * context * width * vocab_size


@op
def count_token_flops(vocab_size: int, position: int, layers: int, width: int) -> int:
    """Count the operations that a GPT-2 takes to read one token, after `position` tokens in its cache -> int.

    As in `count_flops`, only matrix products, the output layer's too, and attention count. The token's query
    meets the keys of the cache and its own.
    """
    return layers * (24 * width * width + 4 * (position + 1) * width) + 2 * width * vocab_size


@op
def roof_seconds(rows: int, flops: float, row_bytes: float, shared_bytes: float, flop_rate: float,
                 byte_rate: float) -> float:
    """Compute the least time that a machine takes to read one token in each of many rows -> float.

    Each row takes `flops` operations, and reads row_bytes of its own, such as its KV cache. All rows together
    read shared_bytes once, the weights. The machine computes flop_rate operations in a second, and reads
    byte_rate bytes meanwhile: the slower of the two decides. (Williams et al., "Roofline", 2009.)
    """
    return max(rows * flops / flop_rate, (shared_bytes + rows * row_bytes) / byte_rate)
