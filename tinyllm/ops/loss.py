"""Cross-entropy: how surprised the model is by the token that came, in nats."""

import numpy as np

from tinyllm.ops.matmul import matmul, matmul_backward
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import rows
from tinyllm.ops.softmax import logsumexp


def kept_targets(logits, targets, ignore_index):
    """Which targets count: True or False, (...). Raises ValueError when one that counts is no token id."""
    if targets.shape != logits.shape[:-1]:
        shapes = f"{logits.shape} and {targets.shape}"
        raise ValueError(f"cross_entropy needs logits (..., V) and targets (...), got {shapes}")
    kept = targets != ignore_index
    outside = kept & ((targets < 0) | (targets >= logits.shape[-1]))
    if np.any(outside):
        allowed = f"0..{logits.shape[-1] - 1} and is not ignore_index ({ignore_index})"
        raise ValueError(f"cross_entropy: target {targets[outside].flat[0]} is outside {allowed}")
    return kept


@op(outputs=("loss", "lse"), grads=("logits",))
def cross_entropy(logits, targets, ignore_index=-100):
    """Average the surprise -log p(target) = lse - logit[target] over the targets that are not ignored.

    logits (..., V), targets (...) ints -> loss (), lse (...), the log-sum-exp of each row. The loss is 0 when
    every target is ignored. Raises ValueError when a target is neither in 0..V-1 nor ignore_index.
    """
    kept = kept_targets(logits, targets, ignore_index)
    lse = logsumexp(logits)
    surprise = lse[kept] - logits[kept, targets[kept]]
    return np.asarray(surprise.sum() / max(surprise.size, 1)), lse


@op
def cross_entropy_backward(dloss, logits, targets, lse, ignore_index=-100):
    """Carry a gradient back through cross_entropy: dlogits = (softmax(logits) - onehot) dloss / count.

    dloss (), logits (..., V), targets (...), lse (...) -> dlogits (..., V); rows of ignored targets are 0.
    """
    kept = kept_targets(logits, targets, ignore_index)
    dlogits = np.exp(logits - lse[..., None])
    dlogits[kept, targets[kept]] -= 1
    dlogits *= dloss / max(int(kept.sum()), 1)
    dlogits[~kept] = 0
    return dlogits


def loss_with(product, x, w, targets, ignore_index):
    """Score by the matrix product that is given, then cross_entropy."""
    if w.ndim != 2 or x.shape[-1:] != w.shape[1:]:
        raise ValueError(f"linear_cross_entropy needs x (..., C) and w (V, C), got {x.shape} and {w.shape}")
    logits = product(rows(x), w, transpose_b=True)
    return cross_entropy(logits.reshape(*x.shape[:-1], w.shape[0]), targets, ignore_index)


def gradient_with(product, product_backward, dloss, x, w, targets, lse, ignore_index):
    """Carry a gradient back through cross_entropy, then through the product."""
    logits = product(rows(x), w, transpose_b=True)
    dlogits = cross_entropy_backward(dloss, logits, targets.reshape(-1), lse.reshape(-1), ignore_index)
    dx, dw = product_backward(dlogits, rows(x), w, transpose_b=True)
    return dx.reshape(x.shape), dw


@op(outputs=("loss", "lse"), grads=("x", "w"), follows="matmul")
def linear_cross_entropy(x, w, targets, ignore_index=-100):
    """Score each row of x against the row of w of every token, and average the surprise: last layer and loss.

    x (..., C), w (V, C), targets (...) ints -> loss (), lse (...): cross_entropy of the logits x w^T, which
    the compiled twin never holds whole. Raises ValueError when sizes do not fit, and as cross_entropy does.
    """
    return loss_with(matmul, x, w, targets, ignore_index)


@op(follows="matmul")
def linear_cross_entropy_backward(dloss, x, w, targets, lse, ignore_index=-100):
    """Carry a gradient back through linear_cross_entropy, for which the logits are made again.

    dloss (), x (..., C), w (V, C), targets (...), lse (...) -> dx (..., C), dw (V, C).
    """
    return gradient_with(matmul, matmul_backward, dloss, x, w, targets, lse, ignore_index)


@linear_cross_entropy.variant("bf16")
def linear_cross_entropy_bf16(x, w, targets, ignore_index=-100):
    """Score with rounded operands; here the logits are stored."""
    return loss_with(matmul.variants["bf16"], x, w, targets, ignore_index)


@linear_cross_entropy_backward.variant("bf16")
def linear_cross_entropy_backward_bf16(dloss, x, w, targets, lse, ignore_index=-100):
    """Carry a gradient back with the operands of all three products rounded, dlogits among them."""
    products = matmul.variants["bf16"], matmul_backward.variants["bf16"]
    return gradient_with(*products, dloss, x, w, targets, lse, ignore_index)
