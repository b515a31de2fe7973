"""Compute which keys each query of attention sees, as a mask or as ranges; check attention's arguments.

A mask is True or False for every query and key. The general form is a range, a first key and an end for every
query: causal masks, lengths, sliding windows, packed documents and prefixes are all ranges, so one kernel
computes them and skips blocks that no query sees.
"""

from typing import Any

import numpy as np

from tinyllm.ops.shapes import Array


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


def ranges_mask(starts: Array, ends: Array, keys: int) -> Array:
    """Return a mask that is True where starts <= key < ends: starts and ends (B, S) -> (B, 1, S, keys)."""
    key = np.arange(keys)
    return ((starts[..., None] <= key) & (key < ends[..., None]))[:, None]


def check_attention(q: Array, k: Array, v: Array, causal: bool = True, lengths: Array | None = None) -> None:
    """Raise ValueError unless D >= 1, K divides H, and lengths is None or a number in 0..T for each row."""
    H, K, D = q.shape[2], k.shape[2], q.shape[3]
    if D == 0 or K == 0 or H % K:
        raise ValueError(f"needs D >= 1 and H a multiple of K, got D = {D}, H = {H}, K = {K}")
    if lengths is not None:
        n, T = np.asarray(lengths), k.shape[1]
        found = n.tolist()  # min and max of a short list are ten times as fast as of an array
        if n.shape != k.shape[:1] or (found and (min(found) < 0 or max(found) > T)):
            raise ValueError(f"needs one length in 0..{T} for each of {len(k)} rows, got {found}")


def check_ranges(q: Array, k: Array, v: Array, starts: Array, ends: Array, bias: Array | None = None) -> None:
    """Raise ValueError unless heads fit, ranges lie in 0..T, and the bias broadcasts to (H, S, T)."""
    check_attention(q, k, v)
    T, whole = k.shape[1], (q.shape[2], q.shape[1], k.shape[1])
    for name, x in (("starts", starts), ("ends", ends)):
        if np.any(np.less(x, 0) | np.greater(x, T)):
            raise ValueError(f"needs {name} in 0..{T}, got {np.min(x)} to {np.max(x)}")
    shape = () if bias is None else bias.shape
    if len(shape) > 3 or any(n not in (1, m) for n, m in zip(shape[::-1], whole[::-1], strict=False)):
        raise ValueError(f"needs a bias that broadcasts to {whole}, got {shape}")


def attention_flops(args: dict[str, Any], result: Any) -> int:
    """Count the operations of the products q k^T and p v in all heads, for the keys that are not hidden."""
    q, k = args["q"], args["k"]
    starts, ends = key_ranges(q.shape[:2], k.shape[1], args["causal"], args["lengths"])
    return ranges_flops({"q": q, "starts": starts, "ends": ends}, result)


def ranges_flops(args: dict[str, Any], result: Any) -> int:
    """Count the operations of the products q k^T and p v in all heads, for keys in the queries' ranges."""
    seen = np.maximum(args["ends"] - args["starts"], 0).sum()
    return 4 * args["q"].shape[2] * args["q"].shape[3] * int(seen)
