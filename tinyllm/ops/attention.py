"""Define attention: a mean of values, weighted by how keys match a query; both may be bfloat16, as uint16."""

import numpy as np

from tinyllm.ops.autograd import sum_to_shape
from tinyllm.ops.mask import (
    attention_flops,
    attention_mask,
    check_attention,
    check_ranges,
    ranges_flops,
    ranges_mask,
)
from tinyllm.ops.matmul import matmul
from tinyllm.ops.quant import from_bfloat16
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array
from tinyllm.ops.softmax import logsumexp, softmax, softmax_backward

SHAPES = "q (B, S, H, D), k (B, T, K, D), v (B, T, K, D)"
RANGES = f"{SHAPES}, starts (B, S), ends (B, S)"
GRADIENT = "dy (B, S, H, D), y (B, S, H, D), lse (B, H, S)"


@op(outputs=("y", "lse"), grads=("q", "k", "v"), shapes=SHAPES, check=check_attention, flops=attention_flops)
def attention(q: Array, k: Array, v: Array, causal: bool = True,
              lengths: Array | None = None) -> tuple[Array, Array]:
    """Return for every query a mean of the values, weighted by softmax(q . k / sqrt(D)).

    q (B, S, H, D), k and v (B, T, K, D) -> y (B, S, H, D), lse (B, H, S), the log-sum-exp of each query's
    scores. The queries are the last S of the T tokens; causal hides the keys after a query's own token;
    without it, a query sees all keys of its row. Query head h reads kv head h // (H / K). With lengths (B,),
    row b has only its first lengths[b] keys, and its queries are the last S of these tokens. A query that
    sees no key gets y = 0 and lse = -inf. The values of hidden keys must be finite. Raises ValueError when
    the shapes do not fit. (Vaswani et al. 2017, section 3.2; shared heads: Ainslie et al. 2023.)
    """
    k, v = widened(k), widened(v)
    scores = masked_scores(q, k, causal, lengths)  # (B, H, S, T)
    y = matmul(softmax(scores), to_heads(v, q.shape[2] // k.shape[2]))
    return y.swapaxes(1, 2), logsumexp(scores)


@op(shapes=f"{SHAPES}, {GRADIENT}", check=lambda dy, q, k, v, y, lse, *rest: check_attention(q, k, v, *rest))
def attention_backward(dy: Array, q: Array, k: Array, v: Array, y: Array, lse: Array, causal: bool = True,
                       lengths: Array | None = None) -> tuple[Array, Array, Array]:
    """Compute the gradients of attention with respect to queries, keys and values.

    The probabilities are computed again, p = exp(score - lse). The sum of dp * p over a row of scores, inside
    softmax_backward, equals dy . y, so a kernel that never stores a whole row of p can compute the sum from y
    (Dao et al. 2022, appendix B).
    """
    lse = np.where(lse == -np.inf, 0, lse)  # a query that sees no key: exp(-inf - 0) = 0
    p = np.exp(masked_scores(q, k, causal, lengths) - lse[..., None])
    return gradients(dy, q, k, v, p)[:3]


def widened(x: Array) -> Array:
    """Return keys or values as floats: bfloat16 numbers, given as uint16, become float32."""
    return from_bfloat16(x) if x.dtype == np.uint16 else x


def masked_scores(q: Array, k: Array, causal: bool, lengths: Array | None) -> Array:
    """Return q . k / sqrt(D) for every query and key of a head (B, H, S, T), and -inf for hidden keys."""
    return np.where(attention_mask(q, k, causal, lengths), all_scores(q, k), -np.inf)


def all_scores(q: Array, k: Array) -> Array:
    """Return q . k / sqrt(D) for every query and key of a head, (B, H, S, T)."""
    group = q.shape[2] // k.shape[2]
    return matmul(to_heads(q), to_heads(k, group), transpose_b=True) * q.shape[3] ** -0.5


def to_heads(x: Array, group: int = 1) -> Array:
    """Put heads first, and repeat each kv head for its queries: (B, T, K, D) -> (B, K * group, T, D)."""
    return x.swapaxes(1, 2).repeat(group, axis=1)


def gradients(dy: Array, q: Array, k: Array, v: Array, p: Array) -> tuple[Array, Array, Array, Array]:
    """Compute the gradients of y = p v with p = softmax(scores) (B, H, S, T) -> dq, dk, dv, dscores."""
    group, scale = q.shape[2] // k.shape[2], q.shape[3] ** -0.5
    dout = to_heads(dy)
    dscores = softmax_backward(matmul(dout, to_heads(v, group), transpose_b=True), p)
    dq = matmul(dscores * scale, to_heads(k, group)).swapaxes(1, 2)
    dk = sum_groups(matmul(dscores * scale, to_heads(q), transpose_a=True), group)
    dv = sum_groups(matmul(p, dout, transpose_a=True), group)
    return dq, dk, dv, dscores


def sum_groups(dx: Array, group: int) -> Array:
    """Compute the gradient of to_heads by summing each kv head's copies: dx (B, H, T, D) -> (B, T, K, D)."""
    B, H, T, D = dx.shape
    return dx.reshape(B, H // group, group, T, D).sum(axis=2).swapaxes(1, 2)


@op(outputs=("y", "lse"), grads=("q", "k", "v", "bias"), shapes=RANGES, check=check_ranges,
    flops=ranges_flops)
def attention_ranges(q: Array, k: Array, v: Array, starts: Array, ends: Array,
                     bias: Array | None = None) -> tuple[Array, Array]:
    """Compute attention in which each query sees only a range of keys, with a bias added to the scores.

    A query's y is the mean of v[t], starts <= t < ends, with weights softmax(q . k[t] / sqrt(D) + bias).

    q (B, S, H, D), k and v (B, T, K, D), starts and ends (B, S) ints in 0..T, bias None or an array that
    broadcasts to (H, S, T) -> y (B, S, H, D), lse (B, H, S), as in attention. An empty range gives y = 0.
    Such biases are T5's relative positions (Raffel et al. 2020) and ALiBi's slope * t (Press et al. 2022).
    k and v may be bfloat16, as in attention. Raises ValueError when shapes, heads or ranges do not fit.
    """
    k, v = widened(k), widened(v)
    scores = range_scores(q, k, starts, ends, bias)
    y = matmul(softmax(scores), to_heads(v, q.shape[2] // k.shape[2]))
    return y.swapaxes(1, 2), logsumexp(scores)


@op(shapes=f"{RANGES}, {GRADIENT}", check=lambda dy, *rest: check_ranges(*rest[:6]))
def attention_ranges_backward(dy: Array, q: Array, k: Array, v: Array, starts: Array, ends: Array,
                              bias: Array | None, y: Array,
                              lse: Array) -> tuple[Array, Array, Array, Array | None]:
    """Compute the gradients of attention_ranges with respect to q, k, v and the bias.

    That of the bias is a sum over the batch and the axes along which it was broadcast; None without a bias.
    """
    lse = np.where(lse == -np.inf, 0, lse)
    p = np.exp(range_scores(q, k, starts, ends, bias) - lse[..., None])
    dq, dk, dv, dscores = gradients(dy, q, k, v, p)
    return dq, dk, dv, None if bias is None else sum_to_shape(dscores, bias.shape)


def range_scores(q: Array, k: Array, starts: Array, ends: Array, bias: Array | None) -> Array:
    """Return q . k / sqrt(D) + bias for every query and key (B, H, S, T), -inf outside each query's range."""
    scores = all_scores(q, k)
    seen = ranges_mask(starts, ends, k.shape[1])
    return np.where(seen, scores if bias is None else scores + bias, -np.inf)


@op(shapes="weights (..., T, T)")
def induction_score(weights: Array, period: int) -> Array:
    """Return the share of attention that a head gives to what followed the same token earlier.

    weights (..., T, T), a row for each query, over a text that begins again after `period` different tokens
    -> (...): the mean, over the queries s >= period, of the summed weights of the keys s - period + 1,
    s - 2 period + 1, ..., which follow the earlier occurrences of the query's token. It is 1 for a perfect
    induction head, and 0 without such queries. Raises ValueError when the period is below 1. (Olsson et al.,
    "In-context Learning and Induction Heads", 2022: prefix matching.)
    """
    if period < 1:
        raise ValueError(f"induction_score needs a period of at least 1, got {period}")
    query, key = np.indices(weights.shape[-2:])
    followed = ((query + 1 - key) % period == 0) & (key > 0) & (key <= query)
    return np.where(followed, weights, 0).sum(axis=(-2, -1)) / max(weights.shape[-1] - period, 1)
