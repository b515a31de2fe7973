"""Ops: arrays in, arrays out. One file per idea, each op's specification and its backward together.

The NumPy body of an op is its specification: float32 in gives float32 out, float64 in gives float64 out, and
inputs come back untouched. NumPy's RuntimeWarning is left on where an infinity turns into NaN, because that
is news.
"""

# ruff: noqa: F401  (what is imported here is the package's public face)

from tinyllm.ops.attention import attention, attention_backward
from tinyllm.ops.autograd import backpropagate, sum_to_shape
from tinyllm.ops.block import count_flops, count_parameters, transformer_block
from tinyllm.ops.bpe import bpe_encode, bpe_merge, bpe_pair_counts, bpe_train
from tinyllm.ops.elementwise import (
    add,
    dropout,
    dropout_backward,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    silu,
    silu_backward,
    swiglu,
    swiglu_backward,
)
from tinyllm.ops.embedding import embedding, embedding_backward
from tinyllm.ops.loss import (
    cross_entropy,
    cross_entropy_backward,
    linear_cross_entropy,
    linear_cross_entropy_backward,
)
from tinyllm.ops.lowp import round_bf16
from tinyllm.ops.matmul import (
    linear,
    linear_backward,
    linear_gelu,
    linear_gelu_backward,
    matmul,
    matmul_backward,
)
from tinyllm.ops.ngram import bigram_counts, entropy, perplexity
from tinyllm.ops.norm import (
    layernorm,
    layernorm_backward,
    rmsnorm,
    rmsnorm_backward,
)
from tinyllm.ops.optim import adamw_step, clip_grads, grad_norm, lr_schedule
from tinyllm.ops.pieces import split_pieces
from tinyllm.ops.quant import (
    dequantize_int4,
    dequantize_int8,
    linear_int4,
    linear_int8,
    quantize_int4,
    quantize_int8,
    quantize_rows,
)
from tinyllm.ops.registry import OPS, Op, op, override, use
from tinyllm.ops.rope import rope, rope_backward, rope_tables
from tinyllm.ops.sample import min_p, repetition_penalty, sample, temperature, top_k, top_p
from tinyllm.ops.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from tinyllm.ops.split import join, split
from tinyllm.ops.unigram import unigram_encode
from tinyllm.ops.wordpiece import wordpiece_encode
