"""Provide test cases, common mistakes and correct variants for transformer blocks and their costs."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import attention, gelu_tanh, layernorm, linear, rmsnorm, rope, rope_tables, silu
from tinyllm.rng import Random
from tinyllm.testing.arrays import CASES, axis, cases, floats, seeds
from tinyllm.testing.bounds import BOUNDS, of_terms
from tinyllm.testing.edits import mistake, variant

counts = st.sampled_from((2, 1, 3, 5, 12, 64, 100))
odd = st.sampled_from((1, 3, 5))


def vector(rng, n):
    """Return n small random numbers: a bias or, added to 1, the weight of a norm."""
    return np.float32(0.3 * rng.normal(n))


def matrix(rng, n_in, n_out):
    """Return random weights of a layer, as large as in an untrained model."""
    return np.float32(rng.normal((n_in, n_out)) / n_in**0.5)


@cases("transformer_block")
def blocks(draw):
    """Draw a GPT-2 block with few channels, and with weights as large as in an untrained model."""
    B, T = draw(axis(2, 1, 3, 0)), draw(st.sampled_from((3, 1, 2, 6, 9)))
    heads, D = draw(st.sampled_from((2, 1, 3))), draw(st.sampled_from((2, 4, 1, 8)))
    C, rng = heads * D, Random(draw(seeds), "block")

    def layer(n_in, n_out):
        return [matrix(rng, n_in, n_out), vector(rng, n_out)]

    norms = [[1 + vector(rng, C), vector(rng, C)] for _ in range(2)]
    x = floats(draw, (B, T, C), ("normal", "wide", "normal"))
    return x, heads, norms[0], layer(C, 3 * C), layer(C, C), norms[1], layer(C, 4 * C), layer(4 * C, C)


@cases("llama_block")
def llama_blocks(draw):
    """Draw a LLaMA block with few channels; one or more query heads share a kv head."""
    B, T = draw(axis(2, 1, 3, 0)), draw(st.sampled_from((3, 1, 2, 6, 9)))
    K, shared = draw(st.sampled_from((2, 1, 3))), draw(st.sampled_from((2, 1, 3)))
    D, C = draw(st.sampled_from((4, 2))), draw(st.sampled_from((6, 4, 1, 12)))
    F, rng = draw(st.sampled_from((8, 1, 5))), Random(draw(seeds), "llama")
    norms = [1 + vector(rng, C) for _ in range(2)]
    H, x = K * shared, floats(draw, (B, T, C), ("normal", "wide", "normal"))
    attend = [matrix(rng, *shape) for shape in ((C, H * D), (C, K * D), (C, K * D), (H * D, C))]
    mlp = [matrix(rng, *shape) for shape in ((C, F), (C, F), (F, C))]
    return x, H, norms[0], attend, norms[1], mlp, draw(st.sampled_from((10000.0, 100.0)))


@cases("parallel_block")
def parallel_blocks(draw):
    """Draw a PaLM block with few channels and one to three heads."""
    B, T = draw(axis(2, 1, 3, 0)), draw(st.sampled_from((3, 1, 2, 6, 9)))
    heads, D = draw(st.sampled_from((2, 1, 3))), draw(st.sampled_from((2, 4, 8)))
    C, F, rng = heads * D, draw(st.sampled_from((8, 1, 5))), Random(draw(seeds), "parallel")
    norm = [1 + vector(rng, C), vector(rng, C)]
    widen, narrow = matrix(rng, C, C + 2 * D + F), matrix(rng, C + F, C)
    x = floats(draw, (B, T, C), ("normal", "wide", "normal"))
    return x, heads, norm, widen, narrow, draw(st.sampled_from((10000.0, 100.0)))


sizes = st.tuples(counts, counts, st.sampled_from((1, 2, 12)), st.sampled_from((1, 2, 8, 96)))
CASES |= {
    "count_cache_bytes": st.tuples(counts, counts, counts, counts, st.sampled_from((32, 16, 8, 4)))
         | st.tuples(odd, odd, odd, odd, st.just(4)),
    "count_parameters": sizes,
    "count_flops": sizes,
    "count_token_flops": st.tuples(counts, st.just(0) | counts, *[st.sampled_from((1, 2, 12, 96))] * 2),
    "roof_seconds": st.tuples(counts, *[st.sampled_from((6.0, 1.0, 40.0, 700.0))] * 3,
                              *[st.sampled_from((2.0, 1.0, 50.0))] * 2),
}
BOUNDS["roof_seconds"] = lambda args, results: (1e-12 * results[0],)
# Each norm over few channels can magnify errors a hundredfold.
BOUNDS |= dict.fromkeys(("transformer_block", "llama_block", "parallel_block"), of_terms(
    lambda results, *_: 4000 * (4 + np.abs(results[0]).max(initial=0))))

MIXED = "mixed = linear(layernorm(x, *norm_1)[0], *qkv)"
ATTENDED = "linear(attention(q, k, v)[0].reshape(B, T, C), *project)"
LLAMA_MLP = "linear(swiglu(linear(n, mlp[0]), linear(n, mlp[1])), mlp[2])"
LLAMA_NORM = "n = rmsnorm(x, norm_1)[0]"
MLP = "linear(gelu_tanh(linear(layernorm(x, *norm_2)[0], *widen)), *narrow)"
BARE_MLP = "linear(gelu_tanh(linear(x, *widen)), *narrow)"
CUT = "mixed[..., i * C : (i + 1) * C].reshape(B, T, heads, C // heads)"
FLOPS = "layers * (2 * context * matrices + 4 * pairs * width) + 2 * context * width * vocab_size"

mistake("transformer_block", "norms after the sums, as in the first transformer; GPT-2 puts them before",
        MIXED, "mixed = linear(x, *qkv)", f"add(x, {ATTENDED})", f"layernorm(add(x, {ATTENDED}), *norm_1)[0]",
        f"add(x, {MLP})", f"layernorm(add(x, {BARE_MLP}), *norm_2)[0]")
mistake("transformer_block", "sums that add to the normalised x, not to x itself", MIXED,
        "x = layernorm(x, *norm_1)[0]\nmixed = linear(x, *qkv)", f"return add(x, {MLP})",
        f"x = layernorm(x, *norm_2)[0]\nreturn add(x, {BARE_MLP})")
mistake("transformer_block", "q, k and v taken in turn from each head's outputs, not one after another",
        f"({CUT} for i in range(3))", "np.moveaxis(mixed.reshape(B, T, heads, 3, C // heads), 3, 0).copy()")
mistake("transformer_block", "heads cut as (C / heads, heads), where (heads, C / heads) belongs", CUT,
        CUT.replace("heads, C // heads", "C // heads, heads") + ".swapaxes(2, 3)")
mistake("transformer_block", "heads cut and joined by reshape alone, which mixes tokens: no transpose",
        CUT, CUT.replace("T, heads", "heads, T") + ".swapaxes(1, 2)", "attention(q, k, v)[0]",
        "attention(q, k, v)[0].swapaxes(1, 2)")
mistake("transformer_block", "heads joined by reshape alone, without the transpose back to (B, T, heads, D)",
        "attention(q, k, v)[0]", "attention(q, k, v)[0].swapaxes(1, 2)")
mistake("transformer_block", "attention and MLP side by side, both reading the same x, as in PaLM", MIXED,
        f"before = x\n{MIXED}", "layernorm(x, *norm_2)", "layernorm(before, *norm_2)")
mistake("transformer_block", "the MLP first, then attention", f"return add(x, {MLP})", "return x", MIXED,
        f"x = add(x, {MLP})\n{MIXED}")
for name, last, first in (("transformer_block", f"add(x, {MLP})", MIXED),
                          ("llama_block", f"return add(x, {LLAMA_MLP})", LLAMA_NORM)):
    mistake(name, "the MLP's output added to the block's input, so that attention's is lost",
            first, f"before = x\n{first}", last, last.replace("add(x", "add(before"))
mistake("transformer_block", "the activation after both matrices of the MLP, where it is between them", MLP,
        "gelu_tanh(linear(linear(layernorm(x, *norm_2)[0], *widen), *narrow))")
HEADS = "linear(n, w).reshape(B, T, w.shape[1] // D, D)"
TURNED = "attention(rope(q, *tables), rope(k, *tables), v)"
SECOND = "n = rmsnorm(x, norm_2)[0]"
GATED = "swiglu(linear(n, mlp[0]), linear(n, mlp[1]))"

mistake("llama_block", "queries and keys that are not turned by their positions", TURNED,
        "attention(q, k, v)")
mistake("llama_block", "queries and keys turned the other way round", "np.arange(T)", "-np.arange(T)")
mistake("llama_block", "values turned by rope, as queries and keys are", TURNED,
        TURNED.replace(" v)", " rope(v, *tables))"))
mistake("llama_block", "rope applied before the channels are cut into heads", HEADS,
        "(linear(n, w) if w is attend[2] else rope(linear(n, w)[:, :, None], "
        "*rope_tables(np.arange(T), w.shape[1], base))[:, :, 0]).reshape(B, T, w.shape[1] // D, D)",
        TURNED, "attention(q, k, v)")
mistake("llama_block", "layernorm's subtraction of the mean in both norms",
        "rmsnorm(x, norm_1)[0]", "rmsnorm(x - x.mean(axis=-1, keepdims=True), norm_1)[0]",
        "rmsnorm(x, norm_2)[0]", "rmsnorm(x - x.mean(axis=-1, keepdims=True), norm_2)[0]")
mistake("llama_block", "an MLP without its gate: silu(up) alone", GATED,
        "linear(n, mlp[1]) / (1 + np.exp(-linear(n, mlp[1])))")
mistake("llama_block", "silu around up, where it belongs around gate", GATED,
        "swiglu(linear(n, mlp[1]), linear(n, mlp[0]))")
mistake("llama_block", "an MLP that reads the first norm's output, not a norm of the new x", SECOND, "")
SIDES = "[y, gelu_tanh(h)]"

mistake("parallel_block", "an MLP after attention, in turn: it reads the new x", "gelu_tanh(h)",
        "gelu_tanh(linear(layernorm(add(x, linear(y, narrow[:C])), *norm)[0], widen[:, C + 2 * D :]))")
mistake("parallel_block", "gelu on the outputs of attention too", SIDES, "[gelu_tanh(y), gelu_tanh(h)]")
mistake("parallel_block", "an MLP that reads x, not the norm of x", "gelu_tanh(h)",
        "gelu_tanh(linear(x, widen[:, C + 2 * D :]))")
mistake("parallel_block", "the channels of the MLP taken first, before q, k and v",
        "", "widen = np.roll(widen, x.shape[2] - narrow.shape[0], axis=1)")
mistake("parallel_block", "values turned by rope, as queries and keys are", "attention(q, k, v)",
        "attention(q, k, rope(v, *tables))")
mistake("parallel_block", "queries and keys that are not turned by their positions",
        "rope_tables(np.arange(T), D, base)", "rope_tables(0 * np.arange(T), D, base)")
mistake("parallel_block", "queries and keys turned the other way round", "np.arange(T)", "-np.arange(T)")
mistake("parallel_block", "x normalised in the sum: what is added to is x itself",
        "add(x, linear(np.concatenate([y, gelu_tanh(h)], axis=-1), narrow))",
        "add(layernorm(x, *norm)[0], linear(np.concatenate([y, gelu_tanh(h)], axis=-1), narrow))")
NUMBERS = "2 * tokens * layers * kv_heads * head_width * bits // 8"
mistake("count_cache_bytes", "numbers, where bytes were asked for", NUMBERS,
        NUMBERS.removesuffix(" * bits // 8"))
mistake("count_cache_bytes", "keys and values rounded down to bytes apart, each by half a byte",
        NUMBERS, "tokens * layers * kv_heads * head_width * bits // 8 * 2")
mistake("count_cache_bytes", "the bits of one number rounded down to bytes: round the total", NUMBERS,
        "2 * tokens * layers * kv_heads * head_width * (bits // 8)")
ATTENTION_PART = "width * 3 * width + 3 * width + width * width + width"
MLP_PART = "width * 4 * width + 4 * width + 4 * width * width + width"
for said, *changes in (
    ("biases", ATTENTION_PART, "4 * width * width", MLP_PART, "8 * width * width"),
    ("4 C numbers of a layer: norms, attention's biases, or the MLP's wide bias", "2 * norm", "0"),
    ("one of the two norms of each layer", "2 * norm", "norm"),
    ("the biases of the MLP", MLP_PART, "8 * width * width + 0 * width"),
):
    mistake("count_parameters", f"a count without {said}", *changes)
mistake("count_cache_bytes", "keys alone, without the values", "2 * tokens", "tokens")
mistake("count_parameters", "an MLP of 3 C channels, where it has 4 C", MLP_PART, MLP_PART.replace("4", "3"))
mistake("count_parameters", "a count in which the output layer has a table of its own, not the tokens'",
        "vocab_size + context", "2 * vocab_size + context")
mistake("count_parameters", "norms that have a weight but no bias", "norm = 2 * width", "norm = width")
mistake("count_parameters", "attention without its last layer, the one that joins the heads",
        "width * 3 * width + 3 * width + width * width + width", "width * 3 * width + 3 * width")
mistake("count_parameters", "the estimate 12 layers C^2, which leaves out embeddings, biases and norms", "",
        "return 12 * layers * width * width")
mistake("count_flops", "every query meeting every key, though the mask hides half of them",
        "context * (context + 1) // 2", "context * context")
mistake("count_flops", "the cost of one token, without the others of the context", "",
        "return layers * (24 * width**2 + 4 * context * width) + 2 * width * vocab_size")
for said, *changes in (
    ("of matrices that multiply one token, not all of the context", FLOPS, FLOPS.replace("* context", "")),
    ("of one operation for a multiplication and an addition in a matrix product", FLOPS,
     FLOPS.replace("2 * context", "context")),
    ("without the second product of attention, of weights and values", "4 * pairs * width",
     "2 * pairs * width"),
    ("without the matrices of q, k and v", "12 * width * width", "9 * width * width"),
    ("without 4 C^2 weights: attention's, or one matrix of the MLP", "12 * width * width",
     "8 * width * width"),
    ("without the MLP", "12 * width * width", "4 * width * width"),
    ("of queries that do not see their own token", "context + 1", "context - 1"),
):
    mistake("count_flops", f"a count {said}", *changes)
HEADED = "2 * width * vocab_size"
MATRICES, ATTENDING = "24 * width * width", "4 * (position + 1) * width"
for said, *changes in (
    ("of a token that does not see itself", ATTENDING, "4 * position * width"),
    ("without the second product of attention, of weights and values", ATTENDING,
     "2 * (position + 1) * width"),
    ("of one operation for a product and a sum in a layer's matrices", MATRICES, "12 * width * width"),
    ("without the output layer", HEADED, "0"),
    ("of all tokens of the cache too, which were read before", MATRICES, f"(position + 1) * {MATRICES}"),
):
    mistake("count_token_flops", f"a count {said}", *changes)
COMPUTE, READ = "rows * flops / flop_rate", "(shared_bytes + rows * row_bytes) / byte_rate"
for said, *changes in (
    ("the sum of both times, but a machine reads while it computes", f"max({COMPUTE}, {READ})",
     f"{COMPUTE} + {READ}"),
    ("the faster of the two, but all waits for the slower", f"max({COMPUTE}, {READ})",
     f"min({COMPUTE}, {READ})"),
    ("weights that every row reads again", READ, "rows * (shared_bytes + row_bytes) / byte_rate"),
    ("the row_bytes of one row, where each row has its own", "rows * row_bytes", "row_bytes"),
    ("the operations of one row", "rows * flops", "flops"),
):
    mistake("roof_seconds", said, *changes)
mistake("count_flops", "forward and backward together, three times the forward pass", FLOPS, f"3 * ({FLOPS})")


@variant("transformer_block")
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


@variant("llama_block")
def llama_block_by_heads(x, heads, norm_1, attend, norm_2, mlp, base=10000.0):
    wq, wk, wv, out = attend
    D = wq.shape[1] // heads
    shared = wq.shape[1] // wk.shape[1]
    tables = rope_tables(np.arange(x.shape[1]), D, base)
    n, y = rmsnorm(x, norm_1)[0], x
    for h in range(heads):  # each head adds its own part to the residual stream
        own, kv = slice(h * D, (h + 1) * D), slice(h // shared * D, (h // shared + 1) * D)
        q, k, v = (a[:, :, None] for a in (n @ wq[:, own], n @ wk[:, kv], n @ wv[:, kv]))
        y = y + attention(rope(q, *tables), rope(k, *tables), v)[0][:, :, 0] @ out[own]
    n = rmsnorm(y, norm_2)[0]
    return y + (silu(n @ mlp[0]) * (n @ mlp[1])) @ mlp[2]


@variant("parallel_block")
def parallel_block_in_parts(x, heads, norm, widen, narrow, base=10000.0):
    B, T, C = x.shape
    D, n = C // heads, layernorm(x, *norm)[0]
    wq, wk, wv, wh = (widen[:, a:b] for a, b in ((0, C), (C, C + D), (C + D, C + 2 * D), (C + 2 * D, None)))
    tables = rope_tables(np.arange(T), D, base)
    q, k, v = rope((n @ wq).reshape(B, T, heads, D), *tables), rope((n @ wk)[:, :, None], *tables), n @ wv
    attended = attention(q, k, v[:, :, None])[0].reshape(B, T, C) @ narrow[:C]
    return x + attended + gelu_tanh(n @ wh) @ narrow[C:]


variant("count_cache_bytes")(lambda tokens, layers, kv_heads, head_width, bits=32: sum(
    2 * tokens * kv_heads * head_width for _ in range(layers)) * bits // 8)
variant("count_parameters")(lambda vocab_size, context, layers, width: width * (
    vocab_size + context + 2 + layers * (12 * width + 13)))
variant("count_flops")(lambda vocab_size, context, layers, width: 2 * context * width * (
    layers * (12 * width + context + 1) + vocab_size))
variant("count_token_flops")(lambda vocab_size, position, layers, width: 2 * width * (
    vocab_size + 2 * layers * (6 * width + position + 1)))
variant("roof_seconds")(lambda rows, flops, row_bytes, shared_bytes, flop_rate, byte_rate: sorted(
    [shared_bytes / byte_rate + rows * (row_bytes / byte_rate), rows * (flops / flop_rate)])[1])
