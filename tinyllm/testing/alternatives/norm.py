"""Right solutions of the ops in norm.py, written differently."""

import numpy as np

from tinyllm.testing.alternative import alternative


@alternative
def layernorm_by_var(x, w, b, eps=1e-5):
    mean = x.mean(-1)
    rstd = 1 / np.sqrt(x.var(-1) + x.dtype.type(eps))
    return ((x.T - mean.T) * rstd.T).T * w + b, mean, rstd


@alternative
def layernorm_by_centred_squares(x, w, b, eps=1e-5):
    mean = np.sum(x, axis=-1, keepdims=True, dtype=np.float64) / x.shape[-1]
    centred = x - mean
    variance = np.einsum("...c,...c->...", centred, centred)[..., None] / x.shape[-1]
    rstd = (variance + eps) ** -0.5
    return tuple(out.astype(x.dtype) for out in (w * (centred * rstd) + b, mean[..., 0], rstd[..., 0]))


@alternative
def rmsnorm_by_float64(x, w, eps=1e-5):
    wide = x.astype(np.float64)
    rms = np.sqrt(np.square(wide).mean(axis=-1, keepdims=True) + eps)
    return (wide / rms * w).astype(x.dtype), (1 / rms[..., 0]).astype(x.dtype)


@alternative
def layernorm_by_float64(x, w, b, eps=1e-5):
    wide = x.astype(np.float64)
    mean, variance = wide.mean(-1), wide.var(-1)
    rstd = 1 / np.sqrt(variance + eps)
    y = (wide - mean[..., None]) * rstd[..., None] * w + b
    return tuple(a.astype(x.dtype) for a in (y, mean, rstd))


@alternative
def layernorm_backward_by_projection(dy, x, w, mean, rstd):
    C = x.shape[-1]
    n = (x - mean[..., None]) * rstd[..., None]
    dn = dy * w
    along_n = np.einsum("...c,...c->...", dn, n)[..., None]
    dx = (dn - (dn.sum(-1, keepdims=True) + n * along_n) / x.dtype.type(C)) * rstd[..., None]
    flat = (dy * n).reshape(-1, C), dy.reshape(-1, C)
    return dx, flat[0].sum(0), flat[1].sum(0)


@alternative
def layernorm_backward_by_float64(dy, x, w, mean, rstd):
    axes = tuple(range(x.ndim - 1))
    wide_dy, wide = dy.astype(np.float64), x.astype(np.float64)
    n = (wide - mean[..., None].astype(np.float64)) * rstd[..., None].astype(np.float64)
    dn = wide_dy * w
    dx = rstd[..., None] * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))
    return tuple(a.astype(x.dtype) for a in (dx, (wide_dy * n).sum(axis=axes), wide_dy.sum(axis=axes)))


@alternative
def layernorm_backward_by_rows(dy, x, w, mean, rstd):
    dx, dw, db = np.empty_like(x, order="C"), np.zeros(len(w)), np.zeros(len(w))
    for i in np.ndindex(x.shape[:-1]):
        n = (x[i] - mean[i]) * rstd[i]
        dn = dy[i] * w
        dx[i] = rstd[i] * (dn - dn.mean() - n * (dn * n).mean())
        dw += dy[i] * n
        db += dy[i]
    return dx, dw.astype(x.dtype), db.astype(x.dtype)


@alternative
def rmsnorm_by_vector_norms(x, w, eps=1e-5):
    norms = np.linalg.norm(x.astype(np.float64), axis=-1)
    rstd = ((norms**2 / x.shape[-1]) + eps) ** -0.5
    return (x * rstd[..., None] * w).astype(x.dtype), rstd.astype(x.dtype)


@alternative
def rmsnorm_by_rows(x, w, eps=1e-5):
    y, rstd = np.empty_like(x, order="C"), np.empty(x.shape[:-1], x.dtype)
    for i in np.ndindex(x.shape[:-1]):
        rstd[i] = (float(np.mean(x[i].astype(np.float64) ** 2)) + eps) ** -0.5
        y[i] = x[i] * rstd[i] * w
    return y, rstd
