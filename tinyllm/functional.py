"""Differentiable ops: each function holds a forward pass and, inside it, its backward pass.

Shapes, formulas and errors are documented at the op of the same name in `tinyllm.ops`. An array that a
`backward` closure uses stays in memory until the backward pass. Token ids, targets, masks and tables get no
gradient. A frozen weight (requires_grad False) costs no product in the backward pass.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinyllm import ops
from tinyllm.errors import missing
from tinyllm.ops.attention import key_ranges
from tinyllm.ops.loss import gradient_of_x
from tinyllm.tape import gradients, run
from tinyllm.tensor import Tensor, as_array, matmul, no_grad, record, recording, remakeable

Ints = Tensor | ArrayLike  # token ids, targets and indices


def as_tensor(x: Any) -> Any:
    """Return a plain array, a list or a number as a Tensor of float32; a Tensor unchanged."""
    return x if isinstance(x, Tensor) else Tensor(np.asarray(x, np.float32))


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Apply a layer of weights: x (..., I), w (I, O), b (O,) or None -> (..., O)."""
    x = x if isinstance(x, Tensor) else w.like(x)
    parents = (x, w) if b is None else (x, w, b)

    def forward():
        return ops.linear(x.data, w.data, None if b is None else b.data)

    def backward(dy):
        if _frozen(parents):
            return ops.matmul(dy, w.data, transpose_b=True), *[None] * (len(parents) - 1)
        return ops.linear_backward(dy, x.data, w.data)[: len(parents)]

    return record(forward(), parents, backward, again=forward)


def _frozen(parents):
    """Return True if no weight of a layer needs a gradient, so that its matrix product can be skipped."""
    return not any(p.requires_grad for p in parents[1:])


def linear_gelu(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Apply a layer and gelu_tanh: x (..., I), w (I, O), b (O,) or None -> (..., O)."""
    parents = (x, w) if b is None else (x, w, b)
    bias = None if b is None else b.data
    y, h = ops.linear_gelu(x.data, w.data, bias)
    h = remakeable(h, lambda: ops.linear(x.data, w.data, bias))

    def backward(dy):
        if _frozen(parents):
            dh = ops.gelu_tanh_backward(dy, h.data)
            return ops.matmul(dh, w.data, transpose_b=True), *[None] * (len(parents) - 1)
        return ops.linear_gelu_backward(dy, x.data, w.data, h.data)[: len(parents)]

    return record(y, parents, backward, again=lambda: ops.gelu_tanh(h.data))


# Arithmetic without operators. Inputs broadcast; numbers and plain arrays take the Tensor's dtype.

exp, log, sqrt, tanh = Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.tanh  # x (...) -> (...)


def sigmoid(x: Tensor) -> Tensor:
    """Compute 1 / (1 + exp(-x)): x (...) -> (...)."""
    x = as_tensor(x)
    y = run(ops.sigmoid, x.data)

    def backward(dy):
        return (dy * y * (1 - y),)

    return record(y, (x,), backward)


def relu(x: Tensor) -> Tensor:
    """Replace negative numbers by 0, with gradient 0 at 0: x (...) -> (...)."""
    return maximum(0, as_tensor(x))


def log_sigmoid(x: Tensor) -> Tensor:
    """Compute log sigmoid(x) = -log(1 + exp(-x)), finite where sigmoid(x) is 0: x (...) -> (...)."""
    e = run(ops.exp, -np.abs(x.data))
    near = 1 + e  # log(1 + e) = log(near) + a correction for the rounding of near
    y = np.minimum(x.data, 0) - (run(ops.log, near) + (e - (near - 1)) / near)

    def backward(dy):
        return (dy * run(ops.sigmoid, -x.data),)

    return record(y, (x,), backward)


def minimum(x: Any, y: Any) -> Tensor:
    """Return the elementwise minimum; x or y is a Tensor. Where they are equal, x gets the gradient."""
    x, y = (x, x.like(y)) if isinstance(x, Tensor) else (y.like(x), y)
    first = x.data <= y.data

    def backward(dz):
        return ops.sum_to_shape(dz * first, x.shape), ops.sum_to_shape(dz * ~first, y.shape)

    return record(np.minimum(x.data, y.data), (x, y), backward)


def maximum(x: Any, y: Any) -> Tensor:
    """Return the elementwise maximum; x or y is a Tensor. Where they are equal, x gets the gradient."""
    return -minimum(-x, -y)


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    """Limit x (...) to low..high, numbers or plain arrays; elements outside the limits get no gradient."""
    inside = (low <= x.data) & (x.data <= high)

    def backward(dy):
        return (dy * inside,)

    return record(np.clip(x.data, low, high).astype(x.dtype, copy=False), (x,), backward)


def concat(tensors: Iterable[Tensor], axis: int = -1) -> Tensor:
    """Join tensors along an axis. Raises ValueError unless their other axes agree."""
    tensors = tuple(tensors)
    ends = np.cumsum([x.shape[axis] for x in tensors])[:-1]

    def backward(dy):
        return tuple(np.split(dy, ends, axis))

    return record(np.concatenate([x.data for x in tensors], axis), tensors, backward)


def softmax(x: Tensor) -> Tensor:
    """Turn scores x (..., n) into probabilities (..., n)."""
    x = as_tensor(x)
    y = ops.softmax(x.data)

    def backward(dy):
        return (ops.softmax_backward(dy, y),)

    return record(y, (x,), backward)


def log_softmax(x: Tensor) -> Tensor:
    """Turn scores x (..., n) into log probabilities (..., n)."""
    x = as_tensor(x)
    y = ops.log_softmax(x.data)

    def backward(dy):
        return (ops.log_softmax_backward(dy, y),)

    return record(y, (x,), backward)


def cross_entropy(logits: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return the mean cross-entropy of targets: logits (..., V), targets (...) ints -> nats ()."""
    logits, targets = as_tensor(logits), np.asarray(as_array(targets))
    loss, lse = ops.cross_entropy(logits.data, targets, ignore_index)

    def backward(dloss):
        return (ops.cross_entropy_backward(dloss, logits.data, targets, lse, ignore_index),)

    return record(loss, (logits,), backward)


def token_losses(logits: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return the cross-entropy of every target: logits (..., V), targets (...) ints -> nats (...).

    Ignored targets get 0.
    """
    logits, targets = as_tensor(logits), np.asarray(as_array(targets))
    losses, lse = ops.token_losses(logits.data, targets, ignore_index)

    def backward(dlosses):
        return (ops.token_losses_backward(dlosses, logits.data, targets, lse, ignore_index),)

    return record(losses, (logits,), backward)


def linear_token_losses(x: Tensor, w: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return token_losses of the logits x w^T without storing them: x (..., C), w (V, C) -> nats (...).

    targets (...) ints; ignored targets get 0.
    """
    targets = np.asarray(as_array(targets))
    losses, lse = ops.linear_token_losses(x.data, w.data, targets, ignore_index)

    def backward(dlosses):
        known = dlosses, x.data, w.data, targets, lse, ignore_index
        return ops.linear_token_losses_backward(*known) if w.requires_grad else (gradient_of_x(*known), None)

    return record(losses, (x, w), backward)


def linear_cross_entropy(x: Tensor, w: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Average linear_token_losses over the targets that are not ignored.

    x (..., C), w (V, C), targets (...) ints -> nats (). If ops.cross_entropy is replaced, the replacement
    runs and the logits are stored.
    """
    if ops.cross_entropy.replaced or ops.cross_entropy_backward.replaced:
        return cross_entropy(matmul(x, w, transpose_b=True), targets, ignore_index)
    targets = np.asarray(as_array(targets))
    losses = linear_token_losses(x, w, targets, ignore_index)
    return losses.sum() / max(int(np.count_nonzero(targets != ignore_index)), 1)


def layernorm(x: Tensor, w: Tensor, b: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalise every row: x (..., C), w (C,), b (C,) -> (..., C)."""
    x = x if isinstance(x, Tensor) else w.like(x)
    y, mean, rstd = ops.layernorm(x.data, w.data, b.data, eps)

    def backward(dy):
        return ops.layernorm_backward(dy, x.data, w.data, mean, rstd)

    return record(y, (x, w, b), backward, again=lambda: ops.layernorm(x.data, w.data, b.data, eps)[0])


def rmsnorm(x: Tensor, w: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale every row to root mean square 1, then by w: x (..., C), w (C,) -> (..., C)."""
    x = x if isinstance(x, Tensor) else w.like(x)
    y, rstd = ops.rmsnorm(x.data, w.data, eps)

    def backward(dy):
        return ops.rmsnorm_backward(dy, x.data, w.data, rstd)

    return record(y, (x, w), backward, again=lambda: ops.rmsnorm(x.data, w.data, eps)[0])


def gelu(x: Tensor) -> Tensor:
    """Apply the exact gelu: x (...) -> (...)."""
    x = as_tensor(x)

    def backward(dy):
        return (ops.gelu_backward(dy, x.data),)

    return record(ops.gelu(x.data), (x,), backward)


def gelu_tanh(x: Tensor) -> Tensor:
    """Apply GPT-2's gelu, an approximation with tanh: x (...) -> (...)."""
    x = as_tensor(x)

    def backward(dy):
        return (ops.gelu_tanh_backward(dy, x.data),)

    return record(ops.gelu_tanh(x.data), (x,), backward, again=lambda: ops.gelu_tanh(x.data))


def silu(x: Tensor) -> Tensor:
    """Apply x sigmoid(x): x (...) -> (...)."""
    x = as_tensor(x)

    def backward(dy):
        return (ops.silu_backward(dy, x.data),)

    return record(ops.silu(x.data), (x,), backward)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Multiply one half of a layer by silu of the other: gate, up (...) -> silu(gate) * up (...)."""

    def forward():
        return ops.swiglu(gate.data, up.data)

    def backward(dy):
        return ops.swiglu_backward(dy, gate.data, up.data)

    return record(forward(), (gate, up), backward, again=forward)


def embedding(w: Tensor, ids: Ints) -> Tensor:
    """Look up rows of a table: w (V, C), ids (...) ints -> (..., C)."""
    ids, vocab_size = np.asarray(as_array(ids)), w.shape[0]

    def backward(dy):
        return (ops.embedding_backward(dy, ids, vocab_size),)

    return record(ops.embedding(w.data, ids), (w,), backward)


def take(x: Tensor, index: Ints) -> Tensor:
    """Gather rows: x (N, C), index (...) ints -> (..., C). Raises IndexError on an index outside 0..N-1."""
    return embedding(x, index)


def put(x: Tensor, index: Ints, n: int) -> Tensor:
    """Scatter rows, the transpose of take: x (..., C), index (...) ints in 0..n-1 -> (n, C).

    Row i is the sum of the rows of x whose index is i, or 0 if there are none.
    """
    index = np.asarray(as_array(index))

    def backward(dy):
        return (ops.embedding(dy, index),)

    return record(ops.embedding_backward(x.data, index, n), (x,), backward)


def place(x: Tensor, vectors: Tensor, at: np.ndarray) -> Tensor:
    """Put vectors (N, C) into N places of x (B, T, C), where at (B, T) is True -> (B, T, C)."""
    return record(ops.place(x.data, vectors.data, at), (x, vectors), lambda dy: ops.place_backward(dy, at))


def rope(x: Tensor, cos: Tensor | np.ndarray, sin: Tensor | np.ndarray) -> Tensor:
    """Rotate pairs of channels by tables cos, sin ([B,] T, D/2): x (B, T, H, D) -> (B, T, H, D)."""
    cos, sin = as_array(cos), as_array(sin)
    return record(ops.rope(x.data, cos, sin), (x,), lambda dy: (ops.rope_backward(dy, cos, sin),))


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = True, lengths: np.ndarray | None = None,
              bias: Any = None, window: int | None = None, starts: np.ndarray | None = None,
              ends: np.ndarray | None = None) -> Tensor:  # fmt: skip
    """Average values with softmax(q k^T / sqrt(D)): q (B, S, H, D), k and v (B, T, K, D) -> (B, S, H, D).

    causal, lengths: see `ops.attention`. bias: broadcasts to (H, S, T) and is added to the scores.
    window: how many keys a query sees, counted back from its own position, which is included.
    starts, ends (B, S): a query sees the keys starts <= t < ends; `ends` replaces causal (see `key_ranges`).
    """
    q, k, v = (q, k, v) if isinstance(q, Tensor) else map(as_tensor, (q, k, v))
    if not (bias is None and window is None and starts is None and ends is None):
        first, end = key_ranges(q.shape[:2], k.shape[1], causal, lengths, window, starts, ends)
        return attention_ranges(q, k, v, first, end, None if bias is None else q.like(bias))
    y, lse = ops.attention(q.data, k.data, v.data, causal, lengths)

    def backward(dy):
        return ops.attention_backward(dy, q.data, k.data, v.data, y, lse, causal, lengths)

    return record(y, (q, k, v), backward)


def attention_ranges(q: Tensor, k: Tensor, v: Tensor, starts: np.ndarray, ends: np.ndarray,
                     bias: Tensor | None = None) -> Tensor:  # fmt: skip
    """Compute attention in which a query sees the keys starts <= t < ends (B, S); bias is added to scores."""
    b = None if bias is None else bias.data
    y, lse = ops.attention_ranges(q.data, k.data, v.data, starts, ends, b)

    def backward(dy):
        grads = ops.attention_ranges_backward(dy, q.data, k.data, v.data, starts, ends, b, y, lse)
        return grads[:3] if bias is None else grads

    return record(y, (q, k, v) if bias is None else (q, k, v, bias), backward)


def dropout(x: Tensor, key: tuple[int, int], p: float) -> Tensor:
    """Set numbers to 0 with probability p, by a key from `Random.reserve`: x (...) -> (...)."""
    return record(ops.dropout(x.data, key, p), (x,), lambda dy: (ops.dropout_backward(dy, key, p),))


def split(x: Tensor, n: int) -> tuple[Tensor, ...]:
    """Cut the last axis into n equal parts: x (..., n * C) -> n tensors (..., C), contiguous in memory.

    Raises ValueError when the last axis does not divide by n.
    """

    def backward(*dparts):
        return (ops.join(list(dparts)),)

    return record(ops.split(x.data, n), (x,), backward)


def checkpoint(fn: Callable, *inputs: Tensor, params: Iterable[Tensor] = ()) -> Tensor:
    """Compute fn(*inputs) and keep only its inputs; the backward pass computes it again.

    This saves memory and costs time. fn maps Tensors to one Tensor and must return the same bits when called
    again, so random numbers must be among its inputs. params are the other leaves with gradients that fn
    uses, such as a block's parameters. Raises RuntimeError if fn uses a leaf that is not listed: at once if
    nothing else needs a gradient, else in backward. Source: Chen et al., "Training Deep Nets with Sublinear
    Memory Cost", 2016.
    """
    params = tuple(params)
    if not any(x.requires_grad for x in inputs + params):  # then nothing may be recorded
        y = fn(*inputs)
        if y.requires_grad:
            raise RuntimeError("checkpoint: fn uses leaves that need a gradient: list them in params=")
        return y
    with no_grad():
        y = fn(*inputs).data

    def backward(dy):
        leaves = tuple(Tensor(x.data, x.requires_grad) for x in inputs)  # leaves of a separate graph
        with recording(True):
            again = fn(*leaves)
        grads = gradients(again, dy) if again.requires_grad else {}
        dxs = tuple(grads.pop(leaf, None) for leaf in leaves + params)
        if grads:
            shapes = ", ".join(str(leaf.shape) for leaf in grads)
            raise RuntimeError(f"checkpoint: fn also uses leaves of shape {shapes}: list them in params=")
        return dxs

    return record(y, inputs + params, backward)

__getattr__ = partial(missing, __name__)
