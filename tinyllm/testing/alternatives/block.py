"""Right solutions of the ops in block.py, written differently."""

import math

import numpy as np

from tinyllm.ops import attention, gelu_tanh, layernorm, linear, softmax
from tinyllm.testing.alternative import alternative


@alternative
def transformer_block_by_plain_numpy(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    def norm(x, w, b):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + x.dtype.type(1e-5)) * w + b

    B, T, C = x.shape
    q, k, v = np.split(norm(x, *norm_1) @ qkv[0] + qkv[1], 3, axis=-1)
    heads_of = [part.reshape(B, T, heads, -1 if B else C // heads).swapaxes(1, 2) for part in (q, k, v)]
    scores = heads_of[0] @ heads_of[1].swapaxes(2, 3) / (C // heads) ** 0.5
    scores = np.where(np.tri(T, dtype=bool), scores, -np.inf).astype(x.dtype)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    y = (e / e.sum(-1, keepdims=True)) @ heads_of[2]
    x = x + y.swapaxes(1, 2).reshape(B, T, C) @ project[0] + project[1]
    h = norm(x, *norm_2) @ widen[0] + widen[1]
    h = h / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
    return (x + h @ narrow[0] + narrow[1]).astype(x.dtype)


@alternative
def transformer_block_by_one_row_at_a_time(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    y = np.empty_like(x, order="C")
    C, D = x.shape[2], x.shape[2] // heads
    for b in range(len(x)):
        mixed = linear(layernorm(np.ascontiguousarray(x[b]), *norm_1)[0], *qkv)
        q, k, v = mixed[:, :C], mixed[:, C : 2 * C], mixed[:, 2 * C :]
        for t in range(x.shape[1]):
            looked = np.empty(C, x.dtype)
            for h in range(heads):
                own = slice(h * D, (h + 1) * D)
                looked[own] = softmax((k[: t + 1, own] @ q[t, own]) / D**0.5) @ v[: t + 1, own]
            row = x[b, t] + linear(looked[None], *project)
            y[b, t] = (row + linear(gelu_tanh(linear(layernorm(row, *norm_2)[0], *widen)), *narrow))[0]
    return y


@alternative
def transformer_block_by_heads(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    C = x.shape[2]
    D = C // heads
    n = layernorm(x, *norm_1)[0]
    x = x + project[1]
    for h in range(heads):  # each head adds its own part to the residual stream
        own = [slice(i * C + h * D, i * C + (h + 1) * D) for i in range(3)]
        q, k, v = ((n @ qkv[0][:, part] + qkv[1][part])[:, :, None] for part in own)
        x = x + attention(q, k, v)[0][:, :, 0] @ project[0][own[0]]
    return x + linear(gelu_tanh(linear(layernorm(x, *norm_2)[0], *widen)), *narrow)


@alternative
def count_parameters_by_shapes(vocab_size, context, layers, width):
    C = width
    matrices = [(C, 3 * C), (3 * C,), (C, C), (C,), (C, 4 * C), (4 * C,), (4 * C, C), (C,)]
    shapes = [(vocab_size, C), (context, C), (C,), (C,), *(layers * (matrices + 4 * [(C,)]))]
    return sum(math.prod(shape) for shape in shapes)


@alternative
def count_parameters_by_formula(vocab_size, context, layers, width):
    return width * (vocab_size + context + 2 + layers * (12 * width + 13))


@alternative
def count_parameters_by_counting_zeros(vocab_size, context, layers, width):
    C = width
    tables = np.zeros((vocab_size + context, 1)).size * C
    each = np.zeros((C + 1, 8)).size * C + np.zeros((4 * C + 1, 1)).size * C + 4 * C
    return tables + layers * each + 2 * C


@alternative
def count_flops_by_tokens(vocab_size, context, layers, width):
    total = 0
    for t in range(context):
        total += layers * (24 * width * width + 4 * (t + 1) * width) + 2 * width * vocab_size
    return total


@alternative
def count_flops_by_matrices(vocab_size, context, layers, width):
    C = width
    shapes = [(C, 3 * C), (C, C), (C, 4 * C), (4 * C, C)]
    products = sum(2 * context * n_in * n_out for n_in, n_out in shapes)
    scores = 2 * sum(2 * C * seen for seen in range(1, context + 1))
    return layers * (products + scores) + 2 * context * C * vocab_size


@alternative
def count_flops_by_formula(vocab_size, context, layers, width):
    return 2 * context * width * (layers * (12 * width + context + 1) + vocab_size)
