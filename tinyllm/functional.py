"""Define differentiable ops: each function runs an op, and records how its gradient is computed.

Most functions are `apply(ops.X, ...)`, whose gradient is the op `X_backward`. The others contain their
forward pass and, under it, their backward pass. Shapes, formulas and errors are documented at the op of the
same name in `tinyllm.ops`. An array that a backward pass uses stays in memory until then. Token ids, targets,
masks and tables get no gradient. The backward pass computes no product for a frozen weight.

Where a Tensor is expected, an array, a list or a number is taken too; it gets the dtype of the first Tensor,
or float32. Kernels compute in float32 and refuse other dtypes; inside `with ops.use("numpy")` all functions
take float64. Even with kernels, matmul, Tensor's operators, and the functions from `sigmoid` to `concat` do.
"""

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.arrays import ArrayLike
from tinyllm.errors import instead, missing
from tinyllm.ops.loss import gradient_of_x
from tinyllm.ops.mask import key_ranges
from tinyllm.tape import mode, run
from tinyllm.tensor import Tensor, as_array, as_tensor, as_tensors, matmul, record, remakeable

Ints = Tensor | ArrayLike  # token ids, targets and indices


@cache
def _derivative(op):
    """Return the op X_backward of an op X, and two lists of indices, `differentiable` and `wanted`.

    differentiable: the indices of those arguments of X that get a gradient.
    wanted: the indices in [*arguments of X, *outputs of X] of what X_backward takes after dy.
    """
    backward = ops.OPS[f"{op.__name__}_backward"]
    arguments = [*op.__signature__.parameters]
    available = [*arguments, *op.outputs]
    _, *names = backward.__signature__.parameters
    return backward, [arguments.index(name) for name in op.grads], [available.index(name) for name in names]


def apply(op: Any, *args: Any, again: bool = False, frozen: Callable | None = None) -> Tensor:
    """Run an op on its arguments, Tensors or plain values, and record its backward op -> the first output.

    again: True if the op is cheap enough to be computed a second time (see `tinyllm.tensor.remaking`).
    frozen: replaces the backward op if only the first argument needs a gradient; returns that gradient.
    """
    op_backward, differentiable, wanted = _derivative(op)
    args = _with_tensors(args, differentiable)
    y = op(*[x.data if isinstance(x, Tensor) else x for x in args])
    outputs = y if isinstance(y, tuple) else (y,)
    if not mode.recording:  # fast, because generation makes thousands of calls per second
        return Tensor(outputs[0])
    parents = [args[i] for i in differentiable if args[i] is not None]
    if frozen and not any(x.requires_grad for x in parents[1:]):
        op_backward = frozen
    available, count = (*args, *outputs), len(parents)
    kept = [available[i] for i in wanted]  # only these stay in memory, so `backward` must not use the others

    def backward(dy):
        grads = op_backward(dy, *map(as_array, kept))
        grads = grads if isinstance(grads, tuple) else (grads,)
        if len(grads) < count:  # `frozen` returns only the first gradient
            return grads + (None,) * (count - len(grads))
        return grads[:count]  # drops the gradient of a last argument that is None, such as a bias

    def forward():
        y = op(*map(as_array, args))
        return y[0] if isinstance(y, tuple) else y

    return record(outputs[0], parents, backward, forward if again else None)


def _with_tensors(args, differentiable):
    """Return the arguments with Tensors in place of differentiable arrays, lists and numbers."""
    for i in differentiable:
        if not isinstance(args[i], Tensor) and args[i] is not None:
            tensors = dict(zip(differentiable, as_tensors(*[args[i] for i in differentiable]), strict=True))
            return [tensors.get(i, x) for i, x in enumerate(args)]
    return args


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Compute x @ w + b: x (..., I), w (I, O), b (O,) or None -> (..., O)."""
    return apply(ops.linear, x, w, b, again=True, frozen=_product)


def _product(dy, x, w):
    return ops.matmul(dy, w, transpose_b=True)


def linear_gelu(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Compute gelu_tanh(x @ w + b): x (..., I), w (I, O), b (O,) or None -> (..., O)."""
    x, w, b = as_tensors(x, w, b)
    parents = (x, w) if b is None else (x, w, b)
    bias = None if b is None else b.data
    y, h = ops.linear_gelu(x.data, w.data, bias)
    h = remakeable(h, lambda: ops.linear(x.data, w.data, bias))

    def backward(dy):
        if not any(p.requires_grad for p in parents[1:]):
            return _product(ops.gelu_tanh_backward(dy, h.data), x.data, w.data), *[None] * (len(parents) - 1)
        return ops.linear_gelu_backward(dy, x.data, w.data, h.data)[: len(parents)]

    return record(y, parents, backward, again=lambda: ops.gelu_tanh(h.data))


def low_rank(x: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """Compute scale (x a) b, what an adapter adds: x (..., I), a (I, r), b (r, O) -> (..., O)."""
    return apply(ops.low_rank, x, a, b, scale)


# Arithmetic without operators. Inputs broadcast.


def sigmoid(x: Tensor) -> Tensor:
    """Compute 1 / (1 + exp(-x)): x (...) -> (...)."""
    x = as_tensor(x)
    y = run(ops.sigmoid, x.data)
    return record(y, (x,), lambda dy: (dy * y * (1 - y),))


def relu(x: Tensor) -> Tensor:
    """Replace negative numbers by 0, with gradient 0 at 0: x (...) -> (...)."""
    return maximum(0, x)


def minimum(x: Any, y: Any) -> Tensor:
    """Return the elementwise minimum. Where x and y are equal, x gets the gradient."""
    return _choose(np.minimum, np.less_equal, x, y)


def maximum(x: Any, y: Any) -> Tensor:
    """Return the elementwise maximum. Where x and y are equal, x gets the gradient."""
    return _choose(np.maximum, np.greater_equal, x, y)


def _choose(better, takes_first, x, y):
    x, y = as_tensors(x, y)
    first = takes_first(x.data, y.data)

    def backward(dz):
        return ops.sum_to_shape(dz * first, x.shape), ops.sum_to_shape(dz * ~first, y.shape)

    return record(better(x.data, y.data), (x, y), backward)


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    """Limit x (...) to the range low..high. Elements outside the range get no gradient."""
    return minimum(maximum(x, low), high)


@instead(dim="axis=")
def concat(tensors: Iterable[Tensor], axis: int = -1) -> Tensor:
    """Join tensors along an axis. Raises ValueError if their other axes differ."""
    tensors = as_tensors(*tensors)
    ends = np.cumsum([x.shape[axis] for x in tensors])[:-1]
    y = np.concatenate([x.data for x in tensors], axis)
    return record(y, tensors, lambda dy: tuple(np.split(dy, ends, axis)))


@instead(dim="no argument for the last axis")
def softmax(x: Tensor) -> Tensor:
    """Turn scores into probabilities along the last axis: x (..., n) -> (..., n)."""
    return apply(ops.softmax, x)


@instead(dim="no argument for the last axis")
def log_softmax(x: Tensor) -> Tensor:
    """Turn scores into log-probabilities along the last axis: x (..., n) -> (..., n)."""
    return apply(ops.log_softmax, x)


def cross_entropy(logits: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return the mean cross-entropy in nats: logits (..., V), targets (...) ints -> ()."""
    return apply(ops.cross_entropy, logits, np.asarray(as_array(targets)), ignore_index)


def token_losses(logits: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return each target's cross-entropy in nats, 0 if ignored: logits (..., V), targets (...) -> (...)."""
    return apply(ops.token_losses, logits, np.asarray(as_array(targets)), ignore_index)


def linear_token_losses(x: Tensor, w: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return token_losses of the logits x w^T without storing the logits: x (..., C), w (V, C) -> (...).

    targets (...) ints; targets equal to ignore_index get 0.
    """
    targets = np.asarray(as_array(targets))
    return apply(ops.linear_token_losses, x, w, targets, ignore_index, frozen=gradient_of_x)


def linear_cross_entropy(x: Tensor, w: Tensor, targets: Ints, ignore_index: int = -100) -> Tensor:
    """Return the mean of linear_token_losses over the targets that are not ignored, in nats.

    x (..., C), w (V, C), targets (...) ints -> (). If ops.cross_entropy is replaced, its replacement
    runs instead, on stored logits.
    """
    if ops.cross_entropy.replaced or ops.cross_entropy_backward.replaced:
        return cross_entropy(matmul(x, w, transpose_b=True), targets, ignore_index)
    targets = np.asarray(as_array(targets))
    losses = linear_token_losses(x, w, targets, ignore_index)
    return losses.sum() / max(int(np.count_nonzero(targets != ignore_index)), 1)


def clipped_loss(new: Tensor, old: Any, advantages: Any, low: float = 0.2, high: float = 0.2) -> Tensor:
    """Return the loss of PPO for every token: new, old, advantages (...) -> (...). `new` gets a gradient."""
    return apply(ops.clipped_loss, new, old, advantages, low, high)


def value_loss(values: Tensor, old: Any, returns: Any, clip: float = 0.2) -> Tensor:
    """Return PPO's loss of values: values, old, returns (...) -> (...). `values` gets a gradient."""
    return apply(ops.value_loss, values, old, returns, clip)


def kl_estimate(new: Tensor, reference: Any, kind: str = "k3") -> Tensor:
    """Estimate a KL divergence for every token: new, reference (...) -> (...). `new` gets a gradient."""
    return apply(ops.kl_estimate, new, reference, kind)


def dpo_loss(chosen: Tensor, rejected: Tensor, reference_chosen: Any, reference_rejected: Any,
             beta: float = 0.1, kind: str = "sigmoid") -> Tensor:
    """Return the loss of DPO for every pair: four log-probabilities (N,) of answers -> (N,).

    `chosen` and `rejected` get gradients.
    """
    return apply(ops.dpo_loss, chosen, rejected, reference_chosen, reference_rejected, beta, kind)


def bradley_terry_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Return -log sigmoid(chosen - rejected) for every pair of scores: chosen, rejected (N,) -> (N,)."""
    return apply(ops.bradley_terry_loss, chosen, rejected)


def layernorm(x: Tensor, w: Tensor, b: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalise each row to mean 0 and variance 1, times w plus b: x (..., C), w, b (C,) -> (..., C)."""
    return apply(ops.layernorm, x, w, b, eps, again=True)


def rmsnorm(x: Tensor, w: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale every row to root mean square 1, then multiply by w: x (..., C), w (C,) -> (..., C)."""
    return apply(ops.rmsnorm, x, w, eps, again=True)


def gelu(x: Tensor) -> Tensor:
    """Apply the exact gelu: x (...) -> (...)."""
    return apply(ops.gelu, x)


def gelu_tanh(x: Tensor) -> Tensor:
    """Apply GPT-2's approximation of gelu by a tanh: x (...) -> (...)."""
    return apply(ops.gelu_tanh, x, again=True)


def silu(x: Tensor) -> Tensor:
    """Compute x * sigmoid(x): x (...) -> (...)."""
    return apply(ops.silu, x)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Compute silu(gate) * up, the gated activation of LLaMA's MLP: gate, up (...) -> (...)."""
    return apply(ops.swiglu, gate, up, again=True)


def embedding(w: Tensor, ids: Ints) -> Tensor:
    """Look up rows of a table by their ids: w (V, C), ids (...) ints -> (..., C)."""
    w, ids = as_tensor(w), np.asarray(as_array(ids))
    count = w.shape[0]
    return record(ops.embedding(w.data, ids), (w,), lambda dy: (ops.embedding_backward(dy, ids, count),))


def rope(x: Tensor, cos: Tensor | np.ndarray, sin: Tensor | np.ndarray) -> Tensor:
    """Rotate pairs of channels by angles: x (B, T, H, D), tables cos, sin ([B,] T, D/2) -> (B, T, H, D)."""
    return apply(ops.rope, x, cos, sin)


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = True, lengths: np.ndarray | None = None,
              bias: Any = None, window: int | None = None, starts: np.ndarray | None = None,
              ends: np.ndarray | None = None) -> Tensor:
    """Average values with weights softmax(q k^T / sqrt(D)): q (B, S, H, D), k, v (B, T, K, D) -> q's shape.

    causal, lengths: see `ops.attention`. bias: broadcasts to (H, S, T) and is added to the scores. window:
    how many keys a query sees, counted back from its own position, which is included. starts, ends (B, S): a
    query sees the keys t with starts <= t < ends; `ends` replaces causal (see `key_ranges`).
    """
    q, k, v, bias = as_tensors(q, k, v, bias)
    if bias is None and window is None and starts is None and ends is None:
        return apply(ops.attention, q, k, v, causal, lengths)
    first, end = key_ranges(q.shape[:2], k.shape[1], causal, lengths, window, starts, ends)
    return apply(ops.attention_ranges, q, k, v, first, end, bias)


def dropout(x: Tensor, key: tuple[int, int], p: float) -> Tensor:
    """Set each number to 0 with probability p, and scale the rest; key: from `Random.reserve`."""
    return apply(ops.dropout, x, key, p)


def split(x: Tensor, n: int) -> tuple[Tensor, ...]:
    """Cut the last axis into n equal parts: x (..., n * C) -> n tensors (..., C), contiguous in memory.

    Raises ValueError when the length of the last axis is not a multiple of n.
    """
    x = as_tensor(x)
    return record(ops.split(x.data, n), (x,), lambda *dparts: (ops.join(list(dparts)),))


_own = [name for name, each in vars().items() if getattr(each, "__module__", "") == __name__]
__all__ = ["matmul", *(name for name in _own if not name.startswith("_"))]
__dir__ = __all__.copy
__getattr__ = partial(missing, __name__)
