"""Compute cross-entropy: the negative log-likelihood (nll) of target tokens in nats; choose targets."""

import numpy as np

from tinyllm.ops.matmul import matmul, matmul_backward
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, rows
from tinyllm.ops.softmax import logsumexp

IGNORED = -100  # the default of ignore_index: a target that does not count


def kept_targets(logits: Array, targets: Array, ignore_index: int) -> Array:
    """Return True for each target that counts, (...) bool. Raises ValueError if one is no token id."""
    V, kept = logits.shape[-1], targets != ignore_index
    outside = kept & ((targets < 0) | (targets >= V))
    if np.any(outside):
        allowed = f"0..{V - 1} and is not ignore_index ({ignore_index})"
        raise ValueError(f"cross_entropy: target {targets[outside].flat[0]} is outside {allowed}")
    return kept


@op(outputs=("loss", "lse"), grads=("logits",), shapes="logits (..., V), targets (...)")
def cross_entropy(logits: Array, targets: Array, ignore_index: int = -100) -> tuple[Array, Array]:
    """Return the mean of -log p(target) = lse - logit[target] over the targets that are not ignored.

    logits (..., V), targets (...) ints -> loss (), lse (...), the log-sum-exp of each row, -inf for a row of
    nothing but -inf. The loss is 0 when every target is ignored. Raises ValueError when a target is neither
    in 0..V-1 nor ignore_index.
    """
    kept = kept_targets(logits, targets, ignore_index)
    lse = logsumexp(logits)
    nll = lse[kept] - logits[kept, targets[kept]]
    return np.asarray(nll.sum() / max(nll.size, 1)), lse


@op(shapes="dloss (), logits (..., V), targets (...), lse (...)")
def cross_entropy_backward(dloss: Array, logits: Array, targets: Array, lse: Array,
                           ignore_index: int = -100) -> Array:
    """Compute dlogits = (softmax(logits) - onehot) dloss / count, and 0 in rows whose target is ignored."""
    kept = kept_targets(logits, targets, ignore_index)
    dlogits = np.exp(logits - lse[..., None])
    dlogits[kept, targets[kept]] -= 1
    dlogits *= dloss / max(int(kept.sum()), 1)
    dlogits[~kept] = 0
    return dlogits


@op(outputs=("losses", "lse"), grads=("logits",), shapes="logits (..., V), targets (...)")
def token_losses(logits: Array, targets: Array, ignore_index: int = -100) -> tuple[Array, Array]:
    """Compute -log p(target) = lse - logit[target] for every target, in nats; ignored targets get 0.

    logits (..., V), targets (...) ints -> losses (...), lse (...). Raises the same errors as cross_entropy.
    """
    kept = kept_targets(logits, targets, ignore_index)
    losses, lse = np.zeros(targets.shape, logits.dtype), cross_entropy(logits, targets, ignore_index)[1]
    losses[kept] = lse[kept] - logits[kept, targets[kept]]
    return losses, lse


@op(shapes="dlosses (...), logits (..., V), targets (...), lse (...)")
def token_losses_backward(dlosses: Array, logits: Array, targets: Array, lse: Array,
                          ignore_index: int = -100) -> Array:
    """Compute the gradient of token_losses: dlogits = (softmax(logits) - onehot) dlosses.

    Ignored rows get 0. No gradient is divided by the number of targets, as the losses are not averaged.
    """
    kept = kept_targets(logits, targets, ignore_index)
    count = logits.dtype.type(kept.sum())
    dlogits = cross_entropy_backward(count, logits, targets, lse, ignore_index) * dlosses[..., None]
    dlogits[~kept] = 0
    return dlogits


@op(outputs=("losses", "lse"), grads=("x", "w"), shapes="x (..., C), w (V, C), targets (...)",
    follows="matmul")
def linear_token_losses(x: Array, w: Array, targets: Array, ignore_index: int = -100) -> tuple[Array, Array]:
    """Compute token_losses of the logits x w^T: the last layer and the loss in one op.

    x (..., C), w (V, C), targets (...) ints -> losses (...), lse (...). The kernel never stores all logits at
    once. Raises ValueError when sizes do not fit, or a target is not allowed.
    """
    logits = matmul(rows(x), w, transpose_b=True)
    return token_losses(logits.reshape(*x.shape[:-1], w.shape[0]), targets, ignore_index)


@op(shapes="dlosses (...), x (..., C), w (V, C), targets (...), lse (...)", follows="matmul")
def linear_token_losses_backward(dlosses: Array, x: Array, w: Array, targets: Array, lse: Array,
                                 ignore_index: int = -100) -> tuple[Array, Array]:
    """Compute the gradients dx and dw of linear_token_losses; the logits are computed again."""
    logits = matmul(rows(x), w, transpose_b=True)
    flat = (each.reshape(-1) for each in (targets, lse))
    dlogits = token_losses_backward(dlosses.reshape(-1), logits, *flat, ignore_index)
    dx, dw = matmul_backward(dlogits, rows(x), w, transpose_b=True)
    return dx.reshape(x.shape), dw


CHUNK = 1 << 23  # the number of logits that are computed at a time: 32 MiB


def gradient_of_x(dlosses: Array, x: Array, w: Array, targets: Array, lse: Array, ignore_index: int) -> Array:
    """Compute only dx of linear_token_losses_backward, for a frozen w, a few rows at a time."""
    dx, flat = np.empty_like(x, order="C"), [each.reshape(-1) for each in (dlosses, targets, lse)]
    step = max(CHUNK // max(len(w), 1), 1)
    for row in range(0, len(rows(x)), step):
        chunk = slice(row, row + step)
        dloss, target, sums = (each[chunk] for each in flat)
        logits = matmul(rows(x)[chunk], w, transpose_b=True)
        rows(dx)[chunk] = matmul(token_losses_backward(dloss, logits, target, sums, ignore_index), w)
    return dx


@op(outputs=("targets",), grads=(), shapes="rows (B, n), begins (B), ends (B)")
def answer_targets(rows: Array, begins: Array, ends: Array) -> Array:
    """Return what a model should write after each token, if only the answer in each row counts.

    rows (B, T + 1) ints; begins, ends (B,) ints, the positions of the answer's first token, and of the first
    token after it -> targets (B, T): rows[b, t + 1] if begins[b] <= t + 1 < ends[b], and else -100.
    """
    place = np.arange(1, rows.shape[1])
    inside = (begins[:, None] <= place) & (place < ends[:, None])
    return np.where(inside, rows[:, 1:], IGNORED)
