"""Mistakes in putting a block together, and in counting."""

import numpy as np

from tinyllm.ops import (
    attention,
    count_flops,
    count_parameters,
    gelu_tanh,
    layernorm,
    linear,
)
from tinyllm.testing.mistake import mistake


def attend(x, heads, qkv, project, causal=True, order=(0, 1, 2), cut=None, scale=1):
    """The attention half with one thing changed."""
    B, T, C = x.shape
    mixed = linear(x, *qkv)
    if cut == "interleaved":
        parts = mixed.reshape(B, T, heads, 3, C // heads)
        q, k, v = (np.ascontiguousarray(parts[:, :, :, i]) for i in order)
    elif cut == "width first":
        parts = (mixed[..., i * C : (i + 1) * C].reshape(B, T, C // heads, heads) for i in order)
        q, k, v = (np.ascontiguousarray(part.swapaxes(2, 3)) for part in parts)
    else:
        q, k, v = (mixed[..., i * C : (i + 1) * C].reshape(B, T, heads, C // heads) for i in order)
    y = attention(q * q.dtype.type(scale), k, v, causal)[0]
    return linear(y.reshape(B, T, C), *project)


def think(x, widen, narrow, bend=gelu_tanh):
    """The other half."""
    return linear(bend(linear(x, *widen)), *narrow)


def norm(x, pair):
    return layernorm(x, *pair)[0]


@mistake("transformer_block", "norms after the sums, as in the first transformer; GPT-2 puts them before")
def post_norm(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = norm(x + attend(x, heads, qkv, project), norm_1)
    return norm(x + think(x, widen, narrow), norm_2)


@mistake("transformer_block", "a block without its residual sums")
def no_residual(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = attend(norm(x, norm_1), heads, qkv, project)
    return think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "sums that add to the normalised x, not to x itself")
def residual_of_the_norm(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    n = norm(x, norm_1)
    x = n + attend(n, heads, qkv, project)
    n = norm(x, norm_2)
    return n + think(n, widen, narrow)


@mistake("transformer_block", "attention that sees the future: the mask is missing")
def no_mask(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + attend(norm(x, norm_1), heads, qkv, project, causal=False)
    return x + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "attention without the factor 1 / sqrt(C / heads)")
def no_scale(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    scale = (x.shape[2] // heads) ** 0.5
    x = x + attend(norm(x, norm_1), heads, qkv, project, scale=scale)
    return x + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "attention scaled by 1 / sqrt(C), as if there were one head")
def scale_of_all_heads(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + attend(norm(x, norm_1), heads, qkv, project, scale=heads**-0.5)
    return x + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "keys taken for queries and queries for keys")
def exchanged(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + attend(norm(x, norm_1), heads, qkv, project, order=(1, 0, 2))
    return x + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "q, k and v taken in turn from each head's outputs, not one after another")
def interleaved(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + attend(norm(x, norm_1), heads, qkv, project, cut="interleaved")
    return x + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "heads cut as (C / heads, heads), where (heads, C / heads) belongs")
def width_first(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + attend(norm(x, norm_1), heads, qkv, project, cut="width first")
    return x + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "an MLP without its bend")
def no_bend(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + attend(norm(x, norm_1), heads, qkv, project)
    return x + think(norm(x, norm_2), widen, narrow, bend=lambda h: h)


@mistake("transformer_block", "attention and MLP side by side, both reading the same x, as in PaLM")
def parallel(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    return x + attend(norm(x, norm_1), heads, qkv, project) + think(norm(x, norm_2), widen, narrow)


@mistake("transformer_block", "the MLP first, then attention")
def other_way_round(x, heads, norm_1, qkv, project, norm_2, widen, narrow):
    x = x + think(norm(x, norm_2), widen, narrow)
    return x + attend(norm(x, norm_1), heads, qkv, project)


parameters, flops = count_parameters.reference, count_flops.reference


@mistake("count_parameters", "a count without biases")
def without_biases(vocab_size, context, layers, width):
    return (vocab_size + context) * width + layers * (12 * width * width + 4 * width) + 2 * width


@mistake("count_parameters", "a count in which the output layer has a table of its own, not the tokens'")
def untied(vocab_size, context, layers, width):
    return parameters(vocab_size, context, layers, width) + vocab_size * width


@mistake("count_parameters", "a count without the table of positions")
def without_positions(vocab_size, context, layers, width):
    return parameters(vocab_size, 0, layers, width)


@mistake("count_parameters", "a count without the last norm")
def without_the_last_norm(vocab_size, context, layers, width):
    return parameters(vocab_size, context, layers, width) - 2 * width


@mistake("count_parameters", "norms that have a weight but no bias")
def norms_without_bias(vocab_size, context, layers, width):
    return parameters(vocab_size, context, layers, width) - (2 * layers + 1) * width


@mistake("count_parameters", "one norm in each layer, where there are two")
def one_norm(vocab_size, context, layers, width):
    return parameters(vocab_size, context, layers, width) - 2 * layers * width


@mistake("count_parameters", "attention without its last layer, the one that joins the heads")
def without_projection(vocab_size, context, layers, width):
    return parameters(vocab_size, context, layers, width) - layers * (width * width + width)


@mistake("count_parameters", "the estimate 12 layers C^2, which leaves out embeddings, biases and norms")
def estimate(vocab_size, context, layers, width):
    return 12 * layers * width * width


@mistake("count_flops", "one operation for each multiplication: the addition that follows is another")
def halved(vocab_size, context, layers, width):
    return flops(vocab_size, context, layers, width) // 2


@mistake("count_flops", "every query meeting every key, though the mask hides half of them")
def without_mask(vocab_size, context, layers, width):
    return layers * (24 * context * width**2 + 4 * context**2 * width) + 2 * context * width * vocab_size


@mistake("count_flops", "attention that is left out: only the matrices count")
def without_attention(vocab_size, context, layers, width):
    return layers * 24 * context * width**2 + 2 * context * width * vocab_size


@mistake("count_flops", "scores without the second product, of weights and values")
def scores_only(vocab_size, context, layers, width):
    pairs = context * (context + 1) // 2
    return flops(vocab_size, context, layers, width) - layers * 2 * pairs * width


@mistake("count_flops", "a pass without the output layer, which scores every token of the vocabulary")
def without_head(vocab_size, context, layers, width):
    return flops(0, context, layers, width)


@mistake("count_flops", "the output layer once, for the last token only, where every token is scored")
def head_once(vocab_size, context, layers, width):
    return flops(0, context, layers, width) + 2 * width * vocab_size


@mistake("count_flops", "the cost of one token, without the others of the context")
def one_token(vocab_size, context, layers, width):
    return layers * (24 * width**2 + 4 * context * width) + 2 * width * vocab_size


@mistake("count_flops", "forward and backward together, three times the forward pass")
def with_backward(vocab_size, context, layers, width):
    return 3 * flops(vocab_size, context, layers, width)
