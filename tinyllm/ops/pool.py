"""Make one vector for a whole text, and bring vectors of texts with the same meaning together."""

import numpy as np

from tinyllm.ops.advantage import before_end
from tinyllm.ops.loss import cross_entropy, cross_entropy_backward
from tinyllm.ops.matmul import matmul, matmul_backward
from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


@op(shapes="x (B, T, C), lengths (B)")
def mean_pool(x: Array, lengths: Array) -> Array:
    """Average the vectors of each text, without those of the padding after it.

    x (B, T, C), lengths (B,) ints from 1 to T -> (B, C), the mean of the first lengths[b] positions of text
    b. The numbers in the padding are never used, even if they are NaN. Raises ValueError on other lengths.
    """
    kept = np.where(before_end(lengths, x.shape[1], 1)[..., None], x, 0)
    return kept.sum(axis=1) / lengths[:, None].astype(x.dtype)


@op(shapes="dy (B, C), x (B, T, C), lengths (B)")
def mean_pool_backward(dy: Array, x: Array, lengths: Array) -> Array:
    """Divide the gradient of each mean equally among the averaged positions."""
    share = dy / lengths[:, None].astype(dy.dtype)
    return np.where(before_end(lengths, x.shape[1], 1)[..., None], share[:, None], dy.dtype.type(0))


@op(outputs=("loss", "logits", "lse"), grads=("a", "b"), shapes="a (N, C), b (N, C)")
def contrastive_loss(a: Array, b: Array, temperature: float) -> tuple[Array, Array, Array]:
    """Return the loss of finding the partner b[i] of each vector a[i]: the mean of -log p(b[i]).

    a (N, C), b (N, C) -> loss (), logits (N, N), lse (N,), the log-sum-exp of each row. The logits are the
    products of every row of a with every row of b, divided by temperature; p is their softmax over the rows
    of b. Without rows the loss is 0. (Oord, Li and Vinyals, "InfoNCE", 2018, section 2.3; Gao et al. 2021,
    section 2.)
    """
    logits = matmul(a, b, transpose_b=True) / float(temperature)
    loss, lse = cross_entropy(logits, np.arange(len(a)))
    return loss, logits, lse


@op(shapes="dloss (), a (N, C), b (N, C), logits (N, N), lse (N)")
def contrastive_loss_backward(dloss: Array, a: Array, b: Array, temperature: float, logits: Array, lse: Array,
                              ) -> tuple[Array, Array]:
    """Compute the gradients da and db of contrastive_loss."""
    dlogits = cross_entropy_backward(dloss, logits, np.arange(len(a)), lse) / float(temperature)
    return matmul_backward(dlogits, a, b, transpose_b=True)
