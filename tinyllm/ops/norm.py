"""Normalise over the last axis: LayerNorm and RMSNorm."""

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, rows


@op(outputs=("y", "mean", "rstd"), grads=("x", "w", "b"), shapes="x (..., C), w (C,), b (C,)", flops=8)
def layernorm(x: Array, w: Array, b: Array, eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """Normalise every row to mean 0 and variance 1, then scale and shift it: y = (x - mean) rstd w + b.

    x (..., C), w (C,), b (C,) -> y (..., C), mean (...), rstd (...), where rstd = 1 / sqrt(variance + eps).
    Raises ValueError when w or b does not have C entries. (Ba, Kiros and Hinton 2016, section 3.)
    """
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    rstd = (variance + eps) ** -0.5
    return (x - mean) * rstd * w + b, mean[..., 0], rstd[..., 0]


@op(shapes="dy (..., C), x (..., C), w (C,), mean (...), rstd (...)")
def layernorm_backward(dy: Array, x: Array, w: Array, mean: Array, rstd: Array) -> tuple[Array, Array, Array]:
    """Compute the gradients of layernorm: dx = rstd (dn - mean(dn) - n mean(dn n)).

    Here n = (x - mean) rstd is the normalised row and dn = dy w. The two subtracted terms come from the row's
    mean and variance, which depend on every channel.
    """
    normal = (x - mean[..., None]) * rstd[..., None]
    dn = dy * w
    dx = dn - dn.mean(axis=-1, keepdims=True) - normal * (dn * normal).mean(axis=-1, keepdims=True)
    return dx * rstd[..., None], rows(dy * normal).sum(axis=0), rows(dy).sum(axis=0)


@op(outputs=("y", "rstd"), grads=("x", "w"), shapes="x (..., C), w (C,)", flops=4)
def rmsnorm(x: Array, w: Array, eps: float = 1e-5) -> tuple[Array, Array]:
    """Scale every row to root mean square 1, then multiply by learnt weights: y = x rstd w.

    x (..., C), w (C,) -> y (..., C), rstd (...), where rstd = 1 / sqrt(mean(x^2) + eps).
    Raises ValueError when w does not have C entries. (Zhang and Sennrich 2019, section 4.)
    """
    rstd = ((x**2).mean(axis=-1, keepdims=True) + eps) ** -0.5
    return x * rstd * w, rstd[..., 0]


@op(shapes="dy (..., C), x (..., C), w (C,), rstd (...)")
def rmsnorm_backward(dy: Array, x: Array, w: Array, rstd: Array) -> tuple[Array, Array]:
    """Compute the gradients of rmsnorm: dx = rstd (dn - n mean(dn n)), where n = x rstd and dn = dy w."""
    normal = x * rstd[..., None]
    dn = dy * w
    dx = (dn - normal * (dn * normal).mean(axis=-1, keepdims=True)) * rstd[..., None]
    return dx, rows(dy * normal).sum(axis=0)
