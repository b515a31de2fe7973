"""Attention: each query looks at the keys, and reads a weighted mean of their values."""

import numpy as np

from tinyllm.ops.matmul import matmul
from tinyllm.ops.registry import op
from tinyllm.ops.softmax import logsumexp, softmax, softmax_backward


def visible(q, k, causal, lengths):
    """Which query may look at which key: True or False, (B, 1, S, T) or (1, 1, S, T).

    Row b has n = lengths[b] keys (T when lengths is None), and query s is token n - S + s of that row.
    """
    S, T = q.shape[1], k.shape[1]
    n = np.reshape(T if lengths is None else lengths, (-1, 1, 1, 1))
    n = n.astype(np.int64)  # unsigned numbers would wrap below zero
    key = np.arange(T)
    token = n - S + np.arange(S)[:, None]
    return (key < n) & (key <= token) if causal else np.broadcast_to(key < n, (*n.shape[:2], S, T))


def check_shapes(q, k, v, lengths):
    """Raise ValueError, and say what attention needs, unless the shapes and the lengths fit together."""
    if q.ndim != 4 or k.ndim != 4 or k.shape != v.shape or q.shape[::3] != k.shape[::3]:
        shapes = f"{q.shape}, {k.shape} and {v.shape}"
        raise ValueError(f"attention needs q (B, S, H, D) and k, v (B, T, K, D), got {shapes}")
    B, T, H, K, D = q.shape[0], k.shape[1], q.shape[2], k.shape[2], q.shape[3]
    if D == 0 or K == 0 or H % K:
        raise ValueError(f"attention needs D >= 1 and H a multiple of K, got D = {D}, H = {H}, K = {K}")
    if lengths is not None and (lengths.shape != (B,) or np.any((lengths < 0) | (lengths > T))):
        raise ValueError(f"attention needs one length in 0..{T} for each of {B} rows, got {lengths.tolist()}")


def heads_first(x, group=1):
    """(B, T, K, D) -> (B, K * group, T, D): each kv head repeated for the query heads that share it."""
    return x.swapaxes(1, 2).repeat(group, axis=1)


def masked_scores(q, k, causal, lengths):
    """q . k / sqrt(D) for every query and key of a head, (B, H, S, T), and -inf where the key is hidden."""
    group = q.shape[2] // k.shape[2]
    scores = matmul(heads_first(q), heads_first(k, group), transpose_b=True) * q.shape[3] ** -0.5
    return np.where(visible(q, k, causal, lengths), scores, -np.inf)


def attention_flops(args, result):
    """Count the two products of every query with the keys that it may see, in all heads."""
    (B, S, H, D), T = args["q"].shape, args["k"].shape[1]
    lengths = [T] * B if args["lengths"] is None else args["lengths"].tolist()
    seen = S * sum(lengths)
    if args["causal"]:
        seen = sum(max(0, n - S + s + 1) for n in lengths for s in range(S))
    return 4 * H * D * seen


@op(outputs=("y", "lse"), grads=("q", "k", "v"), flops=attention_flops)
def attention(q, k, v, causal=True, lengths=None):
    """Let every query read the values, weighted by softmax(q . k / sqrt(D)).

    q (B, S, H, D), k and v (B, T, K, D) -> y (B, S, H, D), lse (B, H, S), the log-sum-exp of each query's
    scores. The queries are the last S tokens of the keys; causal hides the keys after a query's own token.
    Query head h reads kv head h // (H / K). With lengths (B,), row b has only its first lengths[b] keys, and
    its queries are the last S of those. A query that may see no key reads y = 0 and has lse = -inf. Values
    must be finite even where they are hidden. Raises ValueError when the shapes do not fit. (Vaswani et al.
    2017, section 3.2; shared heads: Ainslie et al. 2023.)
    """
    check_shapes(q, k, v, lengths)
    scores = masked_scores(q, k, causal, lengths)
    y = matmul(softmax(scores), heads_first(v, q.shape[2] // k.shape[2]))
    return y.swapaxes(1, 2), logsumexp(scores)


@op
def attention_backward(dy, q, k, v, y, lse, causal=True, lengths=None):
    """Carry a gradient back through attention, from dy to the queries, keys and values.

    dy, y (B, S, H, D), lse (B, H, S), the rest as in attention
    -> dq (B, S, H, D), dk (B, T, K, D), dv (B, T, K, D).
    The probabilities are computed anew, p = exp(score - lse). Each row's sum of dp * p, inside
    softmax_backward, equals dy . y: a kernel that never holds a whole row of p takes it from y instead
    (Dao et al. 2022, appendix B).
    """
    check_shapes(q, k, v, lengths)
    group, scale = q.shape[2] // k.shape[2], q.shape[3] ** -0.5
    lse = np.where(lse == -np.inf, 0, lse)  # a query that sees no key: exp(-inf - 0) = 0
    p = np.exp(masked_scores(q, k, causal, lengths) - lse[..., None])
    dout = heads_first(dy)
    ds = softmax_backward(matmul(dout, heads_first(v, group), transpose_b=True), p) * scale

    def shared(dx):  # (B, H, T, D) -> (B, T, K, D): a kv head sums over the query heads that read it
        B, H, T, D = dx.shape
        return dx.reshape(B, H // group, group, T, D).sum(axis=2).swapaxes(1, 2)

    dq = matmul(ds, heads_first(k, group)).swapaxes(1, 2)
    dk = shared(matmul(ds, heads_first(q), transpose_a=True))
    dv = shared(matmul(p, dout, transpose_a=True))
    return dq, dk, dv
