"""Right solutions of the ops in softmax.py, written differently."""

import math

import numpy as np

from tinyllm.ops import log_softmax
from tinyllm.testing.alternative import alternative


@alternative
def softmax_by_rows(x):
    y = np.empty_like(x)
    for i in np.ndindex(x.shape[:-1]):
        peak = max((v for v in x[i].tolist() if v > -math.inf), default=0)
        e = [math.exp(v - peak) for v in x[i].tolist()]
        y[i] = [v / (sum(e) or 1) for v in e]
    return y


@alternative
def softmax_by_log_softmax(x):
    return np.exp(log_softmax(x))


@alternative
def softmax_backward_by_jacobian(dy, y):
    jacobian = y[..., None] * (np.eye(y.shape[-1], dtype=y.dtype) - y[..., None, :])
    return (jacobian @ dy[..., None])[..., 0]


@alternative
def softmax_backward_by_einsum(dy, y):
    return y * dy - y * np.einsum("...i,...i->...", dy, y)[..., None]


@alternative
def log_softmax_by_logaddexp(x):
    total = np.logaddexp.reduce(x, axis=-1, keepdims=True, initial=-np.inf)
    return x - np.where(total == -np.inf, x.dtype.type(0), total.astype(x.dtype))


@alternative
def softmax_by_float64(x):
    wide = x.astype(np.float64)
    peak = wide.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(wide - np.where(np.isfinite(peak), peak, 0))
    total = e.sum(axis=-1, keepdims=True)
    return np.divide(e, total, out=np.zeros_like(e), where=total > 0).astype(x.dtype)


@alternative
def softmax_backward_by_loops(dy, y):
    dx = np.empty_like(y)
    for i in np.ndindex(y.shape[:-1]):
        dot = float(dy[i].astype(np.float64) @ y[i].astype(np.float64))
        dx[i] = [y_j * (dy_j - dot) for y_j, dy_j in zip(y[i].tolist(), dy[i].tolist(), strict=True)]
    return dx


@alternative
def log_softmax_by_float64(x):
    wide = x.astype(np.float64)
    peak = wide.max(axis=-1, keepdims=True, initial=-np.inf)
    peak = np.where(peak == -np.inf, 0, peak)
    total = np.exp(wide - peak).sum(axis=-1, keepdims=True)
    return (wide - peak - np.log(np.maximum(total, 1))).astype(x.dtype)


@alternative
def log_softmax_by_rows(x):
    y = np.array(x, order="C")
    for i in np.ndindex(x.shape[:-1]):
        finite = [v for v in x[i].tolist() if v > -math.inf]
        if finite:
            peak = max(finite)
            y[i] = x[i] - x.dtype.type(peak) - x.dtype.type(math.log(sum(math.exp(v - peak) for v in finite)))
    return y
