"""Mistakes in attention."""

import numpy as np

from tinyllm.ops import (
    attention,
    attention_backward,
    attention_ranges,
    attention_ranges_backward,
    softmax,
)
from tinyllm.ops.attention import attention_mask, to_heads
from tinyllm.ops.softmax import logsumexp
from tinyllm.testing.mistake import mistake
from tinyllm.testing.properties import EXTREME


def attend(q, k, v, seen, scale=None, repeat=to_heads, hide=-np.inf, probabilities=softmax,
           logarithm=logsumexp):  # fmt: skip
    """Attention with one part replaced: what is seen, the scale, the shared heads, the mask, the softmax."""
    group = q.shape[2] // k.shape[2]
    scores = to_heads(q) @ repeat(k, group).swapaxes(-1, -2) * (scale or q.shape[3] ** -0.5)
    scores = np.where(seen, scores, scores.dtype.type(hide))
    return (probabilities(scores) @ repeat(v, group)).swapaxes(1, 2), logarithm(scores)


def tile_heads(x, group):
    """Kv heads shared as 0 1 2 0 1 2, where 0 0 1 1 2 2 is right."""
    return np.tile(x.swapaxes(1, 2), (1, group, 1, 1))


def shifted(q, k, causal, lengths, by):
    """The causal mask moved by some positions."""
    seen = np.broadcast_to(attention_mask(q, k, False, lengths), (q.shape[0], 1, q.shape[1], k.shape[1]))
    n = np.reshape(k.shape[1] if lengths is None else lengths, (-1, 1, 1, 1))
    last = n - q.shape[1] + np.arange(q.shape[1])[:, None] + by
    return seen & (np.arange(k.shape[1]) <= last) if causal else seen


@mistake("attention", "attention without the 1/sqrt(D) factor")
def without_scale(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths), scale=1.0)


@mistake("attention", "attention scaled by 1/D instead of 1/sqrt(D)")
def scaled_by_width(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths), scale=1 / q.shape[3])


@mistake("attention", "attention scaled by 1/sqrt(H D), the whole width instead of one head's")
def scaled_by_model_width(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths), scale=(q.shape[2] * q.shape[3]) ** -0.5)


@mistake("attention", "attention without the causal mask")
def without_mask(q, k, v, causal=True, lengths=None):
    return attention(q, k, v, False, lengths)


@mistake("attention", "attention that always masks the future, also with causal=False")
def always_causal(q, k, v, causal=True, lengths=None):
    return attention(q, k, v, True, lengths)


@mistake("attention", "a causal mask for queries that are the first S of the keys: they are the last S")
def mask_at_the_wrong_end(q, k, v, causal=True, lengths=None):
    seen = attention_mask(q, k, False, lengths)
    return attend(q, k, v, seen & np.tri(q.shape[1], k.shape[1], dtype=bool) if causal else seen)


@mistake("attention", "a causal mask that is off by one and hides a token from itself")
def hides_itself(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, shifted(q, k, causal, lengths, -1))


@mistake("attention", "a causal mask that is off by one and shows the next token")
def shows_the_next(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, shifted(q, k, causal, lengths, 1))


@mistake("attention", "a mask applied after softmax, so that the rows no longer sum to 1")
def masks_after_softmax(q, k, v, causal=True, lengths=None):
    seen = attention_mask(q, k, causal, lengths)
    y, _ = attend(q, k, v, True, probabilities=lambda scores: softmax(scores) * seen)
    return y, attention(q, k, v, causal, lengths)[1]


@mistake("attention", "a mask applied after softmax, with a log-sum-exp of the hidden scores too")
def masks_probabilities_alone(q, k, v, causal=True, lengths=None):
    seen = attention_mask(q, k, causal, lengths)
    return attend(q, k, v, True, probabilities=lambda scores: softmax(scores) * seen)


@mistake("attention", "attention without subtracting the largest score, so that exp overflows",
         breaks=EXTREME)  # fmt: skip
def without_maximum(q, k, v, causal=True, lengths=None):
    def probabilities(scores):
        e = np.exp(scores)
        total = e.sum(axis=-1, keepdims=True)
        return e / np.where(total == 0, total.dtype.type(1), total)

    def logarithm(scores):
        return np.log(np.exp(scores).sum(axis=-1))

    seen = attention_mask(q, k, causal, lengths)
    return attend(q, k, v, seen, probabilities=probabilities, logarithm=logarithm)


@mistake("attention", "NaN for a query that sees no key, whose y must be 0")
def nothing_is_nan(q, k, v, causal=True, lengths=None):
    y, lse = attention(q, k, v, causal, lengths)
    return np.where((lse == -np.inf).swapaxes(1, 2)[..., None], y.dtype.type(np.nan), y), lse


@mistake("attention", "hidden scores set to 0, which still get a share, where -inf belongs")
def hides_with_zero(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths), hide=0)


@mistake("attention", "hidden scores set to -1e9: a query with no key then reads the mean of all values")
def hides_with_a_number(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths), hide=-1e9)


@mistake("attention", "query head h reading kv head h modulo K, where h // (H / K) is right")
def kv_heads_modulo(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths), repeat=lambda x, group=1: (
        to_heads(x) if group == 1 else tile_heads(x, group)))


@mistake("attention", "attention that ignores lengths and looks at the padding")
def ignores_lengths(q, k, v, causal=True, lengths=None):
    return attention(q, k, v, causal)


@mistake("attention", "softmax over the queries, where it must be over the keys")
def softmax_over_queries(q, k, v, causal=True, lengths=None):
    return attend(q, k, v, attention_mask(q, k, causal, lengths),
                  probabilities=lambda scores: softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2))


@mistake("attention", "keys read where values belong")
def reads_keys(q, k, v, causal=True, lengths=None):
    return attention(q, k, k, causal, lengths)


@mistake("attention", "the largest score returned where its log-sum-exp was asked for")
def returns_maximum(q, k, v, causal=True, lengths=None):
    keys = to_heads(k, q.shape[2] // k.shape[2])
    scores = to_heads(q) @ keys.swapaxes(-1, -2) * q.shape[3] ** -0.5
    scores = np.where(attention_mask(q, k, causal, lengths), scores, scores.dtype.type(-np.inf))
    return attention(q, k, v, causal, lengths)[0], scores.max(axis=-1, initial=-np.inf)


def pull_back(dy, q, k, v, lse, seen, softmax_sum=True, ds_scale=None, group_sum=np.sum, repeat=to_heads):
    """attention_backward with one part replaced: what is seen, the sum, the scale, the shared heads."""
    group, scale = q.shape[2] // k.shape[2], q.shape[3] ** -0.5
    queries, dout, keys, values = to_heads(q), to_heads(dy), repeat(k, group), repeat(v, group)
    scores = queries @ keys.swapaxes(-1, -2) * scale - lse[..., None]
    p = np.exp(np.where(seen & (lse > -np.inf)[..., None], scores, scores.dtype.type(-np.inf)))
    dp = dout @ values.swapaxes(-1, -2)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True) if softmax_sum else dp) * (ds_scale or scale)

    def shared(dx):
        B, H, T, D = dx.shape
        return group_sum(dx.reshape(B, H // group, group, T, D), axis=2).swapaxes(1, 2)

    dq = (ds @ keys).swapaxes(1, 2)
    return dq, shared(ds.swapaxes(-1, -2) @ queries), shared(p.swapaxes(-1, -2) @ dout)


@mistake("attention_backward", "gradients of q and k without the 1/sqrt(D) factor")
def gradient_without_scale(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, causal, lengths), ds_scale=1.0)


@mistake("attention_backward", "p dp, without the sum over the row that softmax's gradient subtracts")
def gradient_without_sum(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, causal, lengths), softmax_sum=False)


@mistake("attention_backward", "a gradient that forgets the causal mask")
def gradient_without_mask(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, False, lengths))


@mistake("attention_backward", "a gradient that ignores lengths")
def gradient_ignores_lengths(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, causal, None))


@mistake("attention_backward", "a kv head's gradient from the first of its query heads alone")
def takes_one_head(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, causal, lengths),
                     group_sum=lambda dx, axis: np.take(dx, 0, axis))


@mistake("attention_backward", "a kv head's gradient averaged over its query heads, not summed")
def averages_heads(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, causal, lengths), group_sum=np.mean)


@mistake("attention_backward", "query head h reading kv head h modulo K, where h // (H / K) is right")
def gradient_modulo(dy, q, k, v, y, lse, causal=True, lengths=None):
    return pull_back(dy, q, k, v, lse, attention_mask(q, k, causal, lengths), repeat=tile_heads)


@mistake("attention_backward", "dq and dk swapped")
def swaps_gradients(dy, q, k, v, y, lse, causal=True, lengths=None):
    dq, dk, dv = attention_backward(dy, q, k, v, y, lse, causal, lengths)
    return dk, dq, dv


@mistake("attention_backward", "a causal mask for queries that are the first S tokens of the keys")
def gradient_mask_at_the_wrong_end(dy, q, k, v, y, lse, causal=True, lengths=None):
    seen = attention_mask(q, k, False, lengths)
    return pull_back(dy, q, k, v, lse, seen & np.tri(q.shape[1], k.shape[1], dtype=bool) if causal else seen)


@mistake("attention_ranges", "ranges that include their end")
def includes_the_end(q, k, v, starts, ends, bias=None):
    return attention_ranges(q, k, v, starts, np.minimum(ends + 1, k.shape[1]), bias)


@mistake("attention_ranges", "ranges that all start at the first key")
def ignores_starts(q, k, v, starts, ends, bias=None):
    return attention_ranges(q, k, v, np.zeros_like(starts), ends, bias)


@mistake("attention_ranges", "a bias that is scaled by 1/sqrt(D) together with the scores")
def scales_the_bias(q, k, v, starts, ends, bias=None):
    return attention_ranges(q, k, v, starts, ends, None if bias is None else bias * q.shape[3] ** -0.5)


@mistake("attention_ranges", "scores without the bias")
def forgets_the_bias(q, k, v, starts, ends, bias=None):
    return attention_ranges(q, k, v, starts, ends)


@mistake("attention_ranges_backward", "a gradient of the bias scaled by 1/sqrt(D), as that of q . k is")
def scales_dbias(dy, q, k, v, starts, ends, bias, y, lse):
    *grads, dbias = attention_ranges_backward(dy, q, k, v, starts, ends, bias, y, lse)
    return *grads, None if dbias is None else dbias * q.shape[3] ** -0.5


@mistake("attention_ranges_backward", "a gradient of the bias from the first row of the batch alone")
def dbias_of_one_row(dy, q, k, v, starts, ends, bias, y, lse):
    *grads, dbias = attention_ranges_backward(dy, q, k, v, starts, ends, bias, y, lse)
    first = attention_ranges_backward(*(x[:1] for x in (dy, q, k, v, starts, ends)), bias, y[:1], lse[:1])
    return *grads, None if dbias is None else first[3]


@mistake("attention_ranges_backward", "a gradient that ignores where ranges start")
def gradient_ignores_starts(dy, q, k, v, starts, ends, bias, y, lse):
    return attention_ranges_backward(dy, q, k, v, np.zeros_like(starts), ends, bias, y, lse)
