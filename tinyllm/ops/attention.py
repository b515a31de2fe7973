"""Define attention: for each query, a mean of the values, weighted by how well keys match the query."""

from typing import Any

import numpy as np

from tinyllm.ops.autograd import sum_to_shape
from tinyllm.ops.matmul import matmul
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array
from tinyllm.ops.softmax import logsumexp, softmax, softmax_backward


def attention_mask(q: Array, k: Array, causal: bool, lengths: Array | None) -> Array:
    """Return a mask that is True where a query may see a key, (B, 1, S, T) or (1, 1, S, T).

    Row b has n = lengths[b] keys (T when lengths is None), and query s is token n - S + s of that row.
    """
    S, T = q.shape[1], k.shape[1]
    n = np.reshape(T if lengths is None else lengths, (-1, 1, 1, 1))
    n = n.astype(np.int64)  # unsigned numbers would wrap below zero
    key = np.arange(T)
    token = n - S + np.arange(S)[:, None]
    return (key < n) & (key <= token) if causal else np.broadcast_to(key < n, (*n.shape[:2], S, T))


SHAPES = "q (B, S, H, D), k (B, T, K, D), v (B, T, K, D)"
GRADIENT = "dy (B, S, H, D), y (B, S, H, D), lse (B, H, S)"


def check_heads(q: Array, k: Array, *rest: Any) -> None:
    """Raise ValueError unless the number of query heads is a multiple of the number of kv heads."""
    H, K, D = q.shape[2], k.shape[2], q.shape[3]
    if D == 0 or K == 0 or H % K:
        raise ValueError(f"needs D >= 1 and H a multiple of K, got D = {D}, H = {H}, K = {K}")


def check_lengths(k: Array, lengths: Array | None) -> None:
    """Raise ValueError unless lengths is None, or has a number from 0 to T for each row."""
    B, T = k.shape[:2]
    if lengths is not None and (lengths.shape != (B,) or np.any((lengths < 0) | (lengths > T))):
        raise ValueError(f"attention needs one length in 0..{T} for each of {B} rows, got {lengths.tolist()}")


def to_heads(x: Array, group: int = 1) -> Array:
    """Put heads first, and repeat each kv head for its queries: (B, T, K, D) -> (B, K * group, T, D)."""
    return x.swapaxes(1, 2).repeat(group, axis=1)


def sum_groups(dx: Array, group: int) -> Array:
    """Compute the gradient of to_heads by summing each kv head's copies: dx (B, H, T, D) -> (B, T, K, D)."""
    B, H, T, D = dx.shape
    return dx.reshape(B, H // group, group, T, D).sum(axis=2).swapaxes(1, 2)


def all_scores(q: Array, k: Array) -> Array:
    """Return q . k / sqrt(D) for every query and key of a head, (B, H, S, T)."""
    group = q.shape[2] // k.shape[2]
    return matmul(to_heads(q), to_heads(k, group), transpose_b=True) * q.shape[3] ** -0.5


def masked_scores(q: Array, k: Array, causal: bool, lengths: Array | None) -> Array:
    """Return q . k / sqrt(D) for every query and key of a head (B, H, S, T), and -inf for hidden keys."""
    return np.where(attention_mask(q, k, causal, lengths), all_scores(q, k), -np.inf)


def attention_flops(args: dict[str, Any], result: Any) -> int:
    """Count the operations of the products q k^T and p v in all heads, for the keys that are not hidden."""
    (B, S, H, D), T = args["q"].shape, args["k"].shape[1]
    lengths = [T] * B if args["lengths"] is None else args["lengths"].tolist()
    seen = S * sum(lengths)
    if args["causal"]:
        seen = sum(max(0, n - S + s + 1) for n in lengths for s in range(S))
    return 4 * H * D * seen


@op(outputs=("y", "lse"), grads=("q", "k", "v"), shapes=SHAPES, check=check_heads, flops=attention_flops)
def attention(q: Array, k: Array, v: Array, causal: bool = True,
              lengths: Array | None = None) -> tuple[Array, Array]:
    """Return for every query a mean of the values, weighted by softmax(q . k / sqrt(D)).

    q (B, S, H, D), k and v (B, T, K, D) -> y (B, S, H, D), lse (B, H, S), the log-sum-exp of each query's
    scores. The queries are the last S of the T tokens; causal hides the keys after a query's own token.
    Query head h reads kv head h // (H / K). With lengths (B,), row b has only its first lengths[b] keys, and
    its queries are the last S of these tokens. A query that sees no key gets y = 0 and lse = -inf. Values
    must be finite even where hidden. Raises ValueError when the shapes do not fit. (Vaswani et al. 2017,
    section 3.2; shared heads: Ainslie et al. 2023.)
    """
    check_lengths(k, lengths)
    scores = masked_scores(q, k, causal, lengths)
    y = matmul(softmax(scores), to_heads(v, q.shape[2] // k.shape[2]))
    return y.swapaxes(1, 2), logsumexp(scores)


def gradients(dy: Array, q: Array, k: Array, v: Array, p: Array) -> tuple[Array, Array, Array, Array]:
    """Compute the gradients of y = p v with p = softmax(scores) (B, H, S, T) -> dq, dk, dv, dscores."""
    group, scale = q.shape[2] // k.shape[2], q.shape[3] ** -0.5
    dout = to_heads(dy)
    dscores = softmax_backward(matmul(dout, to_heads(v, group), transpose_b=True), p)
    dq = matmul(dscores * scale, to_heads(k, group)).swapaxes(1, 2)
    dk = sum_groups(matmul(dscores * scale, to_heads(q), transpose_a=True), group)
    dv = sum_groups(matmul(p, dout, transpose_a=True), group)
    return dq, dk, dv, dscores


@op(shapes=f"{SHAPES}, {GRADIENT}", check=lambda dy, *rest: check_heads(*rest))
def attention_backward(dy: Array, q: Array, k: Array, v: Array, y: Array, lse: Array, causal: bool = True,
                       lengths: Array | None = None) -> tuple[Array, Array, Array]:
    """Compute the gradients of attention with respect to queries, keys and values.

    dy, y (B, S, H, D), lse (B, H, S), the rest as in attention
    -> dq (B, S, H, D), dk (B, T, K, D), dv (B, T, K, D).
    The probabilities are computed again, p = exp(score - lse). The sum of dp * p over a row of scores, inside
    softmax_backward, equals dy . y, so a kernel that never stores a whole row of p can compute the sum from y
    (Dao et al. 2022, appendix B).
    """
    check_lengths(k, lengths)
    lse = np.where(lse == -np.inf, 0, lse)  # a query that sees no key: exp(-inf - 0) = 0
    p = np.exp(masked_scores(q, k, causal, lengths) - lse[..., None])
    return gradients(dy, q, k, v, p)[:3]


# The general form: every query has a first key and an end. Causal masks, lengths, sliding windows, packed
# documents and prefixes are all ranges, so one kernel computes them and skips blocks that no query sees.


def key_ranges(shape: tuple[int, int], keys: int, causal: bool = True, lengths: Array | None = None,
               window: int | None = None, starts: Array | None = None,
               ends: Array | None = None) -> tuple[Array, ...]:
    """Return the range of keys that each query may see, for attention_ranges.

    shape (B, S), keys = T -> starts, ends (B, S): a query may see the keys t with starts <= t < ends. Query s
    of row b is token n - S + s, where n = lengths[b], or T. `window` keeps the last `window` keys up to the
    query's own key. `starts` (B, S) is the first key to see, such as the start of a packed document. `ends`
    (B, S) replaces the causal end, own token + 1: if the first P tokens all see each other, it is max(own
    token + 1, P). A query with an empty range gets zeros. Raises ValueError when the window is below 1.
    """
    B, S = shape
    if window is not None and window < 1:
        raise ValueError(f"attention needs a window of 1 or more, got {window}: a query sees its own key")
    n = np.reshape(keys if lengths is None else lengths, (-1, 1)).astype(np.int64)
    causal_end = n - S + np.arange(1, S + 1)  # the key after the query's own
    first = np.zeros((B, S), np.int64) if starts is None else np.asarray(starts)
    if window is not None:
        first = np.maximum(first, causal_end - window)
    stop = np.minimum(ends if ends is not None else causal_end if causal else n, n)
    return tuple(np.broadcast_to(np.clip(x, 0, keys), (B, S)).astype(np.int64) for x in (first, stop))


RANGES = f"{SHAPES}, starts (B, S), ends (B, S)"


def check_ranges(q: Array, k: Array, v: Array, starts: Array, ends: Array, bias: Array | None = None) -> None:
    """Raise ValueError unless heads fit, ranges lie in 0..T, and the bias broadcasts to (H, S, T)."""
    check_heads(q, k)
    T, whole = k.shape[1], (q.shape[2], q.shape[1], k.shape[1])
    for name, x in (("starts", starts), ("ends", ends)):
        if np.any(np.less(x, 0) | np.greater(x, T)):
            raise ValueError(f"needs {name} in 0..{T}, got {np.min(x)} to {np.max(x)}")
    shape = () if bias is None else bias.shape
    if len(shape) > 3 or any(n not in (1, m) for n, m in zip(shape[::-1], whole[::-1], strict=False)):
        raise ValueError(f"needs a bias that broadcasts to {whole}, got {shape}")


def range_scores(q: Array, k: Array, starts: Array, ends: Array, bias: Array | None) -> Array:
    """Return q . k / sqrt(D) + bias for every query and key (B, H, S, T), -inf outside each query's range."""
    key = np.arange(k.shape[1])
    seen = (starts[..., None] <= key) & (key < ends[..., None])
    scores = all_scores(q, k)
    return np.where(seen[:, None], scores if bias is None else scores + bias, -np.inf)


def ranges_flops(args: dict[str, Any], result: Any) -> int:
    """Count the operations of the products q k^T and p v in all heads, for keys in the queries' ranges."""
    seen = np.maximum(args["ends"] - args["starts"], 0).sum()
    return 4 * args["q"].shape[2] * args["q"].shape[3] * int(seen)


@op(outputs=("y", "lse"), grads=("q", "k", "v", "bias"), shapes=RANGES, check=check_ranges,
    flops=ranges_flops)
def attention_ranges(q: Array, k: Array, v: Array, starts: Array, ends: Array,
                     bias: Array | None = None) -> tuple[Array, Array]:
    """Compute attention in which each query sees only a range of keys, with a bias added to the scores.

    A query's y is the mean of v[t], starts <= t < ends, with weights softmax(q . k[t] / sqrt(D) + bias).

    q (B, S, H, D), k and v (B, T, K, D), starts and ends (B, S) ints in 0..T, bias None or an array that
    broadcasts to (H, S, T) -> y (B, S, H, D), lse (B, H, S), as in attention. An empty range gives y = 0. The
    bias is T5's table of distances (Raffel et al. 2020) or ALiBi's slope * t (H, 1, T) (Press et al. 2022).
    Raises ValueError when shapes, heads or ranges do not fit.
    """
    scores = range_scores(q, k, starts, ends, bias)
    y = matmul(softmax(scores), to_heads(v, q.shape[2] // k.shape[2]))
    return y.swapaxes(1, 2), logsumexp(scores)


@op(shapes=f"{RANGES}, {GRADIENT}", check=lambda dy, *rest: check_ranges(*rest[:6]))
def attention_ranges_backward(dy: Array, q: Array, k: Array, v: Array, starts: Array, ends: Array,
                              bias: Array | None, y: Array,
                              lse: Array) -> tuple[Array, Array, Array, Array | None]:
    """Compute the gradients of attention_ranges with respect to q, k, v and the bias.

    dy, y (B, S, H, D), lse (B, H, S), the rest as in attention_ranges -> dq (B, S, H, D), dk and dv
    (B, T, K, D), dbias of bias's shape (a sum over the batch and broadcast axes), or None without a bias.
    """
    lse = np.where(lse == -np.inf, 0, lse)
    p = np.exp(range_scores(q, k, starts, ends, bias) - lse[..., None])
    dq, dk, dv, dscores = gradients(dy, q, k, v, p)
    return dq, dk, dv, None if bias is None else sum_to_shape(dscores, bias.shape)
