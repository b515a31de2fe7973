"""Right solutions of the ops in attention.py, written differently."""

import numpy as np

from tinyllm.ops import softmax
from tinyllm.testing.alternative import alternative


@alternative
def attention_by_einsum(q, k, v, causal=True, lengths=None):
    B, S, H, D = q.shape
    T, K = k.shape[1:3]
    scores = np.einsum("bskgd,btkd->bkgst", q.reshape(B, S, K, H // K, D) / q.dtype.type(D**0.5), k)
    ends = np.full(B, T) if lengths is None else lengths.astype(np.int64)
    token = ends[:, None] - S + np.arange(S)
    last = token if causal else np.broadcast_to(ends[:, None] - 1, (B, S))
    seen = np.arange(T) <= np.minimum(last, ends[:, None] - 1)[..., None]
    scores = np.where(seen[:, None, None], scores, scores.dtype.type(-np.inf))
    y = np.einsum("bkgst,btkd->bskgd", softmax(scores), v).reshape(q.shape)
    lse = np.logaddexp.reduce(scores, axis=-1, initial=-np.inf).astype(q.dtype)
    return y, lse.reshape(B, H, S)


@alternative
def attention_by_loops(q, k, v, causal=True, lengths=None):
    (B, S, H, D), (_, T, K, _) = q.shape, k.shape
    y, lse = np.zeros_like(q), np.full((B, H, S), -np.inf, q.dtype)
    for b, s, h in np.ndindex(B, S, H):
        n = T if lengths is None else int(lengths[b])
        visible = min(n, n - S + s + 1) if causal else n
        keys, values = (x[b, : max(visible, 0), h // (H // K)] for x in (k, v))
        if len(keys):
            scores = keys @ q[b, s, h] / D**0.5
            weights = np.exp(scores - scores.max())
            y[b, s, h] = weights @ values / weights.sum()
            lse[b, h, s] = scores.max() + np.log(weights.sum())
    return y, lse


@alternative
def attention_by_rows_of_the_batch(q, k, v, causal=True, lengths=None):
    (B, S, H, D), (_, T, K, _) = q.shape, k.shape
    y, lse = np.zeros_like(q, order="C"), np.full((B, H, S), -np.inf, q.dtype)
    for b in range(B):
        n = T if lengths is None else int(lengths[b])
        for h in range(H):
            keys, values = k[b, :n, h // (H // K)], v[b, :n, h // (H // K)]
            scores = (q[b, :, h] @ keys.T) / D**0.5
            if causal:
                ahead = np.arange(n) > (n - S + np.arange(S))[:, None]
                scores = np.where(ahead, scores.dtype.type(-np.inf), scores)
            y[b, :, h] = softmax(scores) @ values
            lse[b, h] = np.logaddexp.reduce(scores, axis=-1, initial=-np.inf)
    return y, lse
