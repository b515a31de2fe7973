"""Right solutions, written differently: `check` accepts every one, and `diagnose` has nothing to say."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyllm.ops import log_softmax, softmax
from tinyllm.testing import CASES, check, diagnose
from tinyllm.testing.check import run

ALTERNATIVES = []


def alternative(function):
    """Register a right solution; its name says the op and, after `_by_`, how it is done."""
    ALTERNATIVES.append((function.__name__.split("_by_")[0], function))
    return function


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
def matmul_by_einsum(a, b, transpose_a=False, transpose_b=False):
    left, right = "ki" if transpose_a else "ik", "jk" if transpose_b else "kj"
    return np.einsum(f"...{left},...{right}->...ij", a, b)


@alternative
def matmul_by_outer_products(a, b, transpose_a=False, transpose_b=False):
    left, right = (a.swapaxes(-1, -2) if transpose_a else a), (b.swapaxes(-1, -2) if transpose_b else b)
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    y = np.zeros((*lead, left.shape[-2], right.shape[-1]), a.dtype)
    for k in range(left.shape[-1]):
        y += left[..., :, k, None] * right[..., k, None, :]
    return y


@alternative
def linear_by_einsum(x, w, b=None):
    return np.einsum("...i,io->...o", x, w) + (0 if b is None else b)


@alternative
def linear_by_a_column_of_ones(x, w, b=None):
    ones = np.ones((*x.shape[:-1], 1), x.dtype)
    bias = np.zeros(w.shape[1:], w.dtype) if b is None else b
    return np.concatenate([x, ones], axis=-1) @ np.concatenate([w, bias[None]])


def cross_entropy_rows(logits, targets, ignore_index):
    """The lse of every row, and the surprise of every target that counts."""
    rows, flat = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    peaks = rows.max(axis=1)
    lse = [math.log(sum(math.exp(v - peak) for v in row)) + peak
           for row, peak in zip(rows.tolist(), peaks.tolist(), strict=True)]
    return lse, [lse[i] - float(rows[i, t]) for i, t in enumerate(flat.tolist()) if t != ignore_index]


@alternative
def cross_entropy_by_rows(logits, targets, ignore_index=-100):
    lse, lost = cross_entropy_rows(logits, targets, ignore_index)
    loss = sum(lost) / len(lost) if lost else 0.0
    return np.array(loss, logits.dtype), np.array(lse, logits.dtype).reshape(targets.shape)


@alternative
def cross_entropy_by_one_hot(logits, targets, ignore_index=-100):
    kept = targets != ignore_index
    hot = (np.arange(logits.shape[-1]) == targets[..., None]) & kept[..., None]
    lost = np.where(hot, -log_softmax(logits), 0)
    loss = lost.sum(dtype=np.float64) / max(np.count_nonzero(kept), 1)
    lse = np.logaddexp.reduce(logits, axis=-1)
    return np.array(loss, logits.dtype), lse.astype(logits.dtype)


@alternative
def cross_entropy_backward_by_one_hot(dloss, logits, targets, lse, ignore_index=-100):
    kept = (targets != ignore_index)[..., None]
    hot = np.arange(logits.shape[-1]) == targets[..., None]
    p = np.exp(logits - lse[..., None])
    each = dloss / max(int(kept.sum()), 1)
    return np.where(kept, (p - hot.astype(p.dtype)) * each, p.dtype.type(0))


@alternative
def bigram_counts_by_a_loop(ids, vocab_size):
    counts = np.zeros((vocab_size, vocab_size), np.int64)
    for a, b in itertools.pairwise(ids.tolist()):
        counts[a, b] += 1
    return counts


@alternative
def bigram_counts_by_bincount(ids, vocab_size):
    pairs = ids[:-1].astype(np.int64) * vocab_size + ids[1:]
    return np.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size)


@alternative
def bigram_counts_by_one_hot(ids, vocab_size):
    hot = (ids[:, None] == np.arange(vocab_size)).astype(np.int64)
    return hot[:-1].T @ hot[1:]


@alternative
def entropy_by_rows(p):
    terms = [-sum(v * math.log(v) for v in row if v > 0) for row in p.reshape(-1, p.shape[-1]).tolist()]
    return np.array(terms, p.dtype).reshape(p.shape[:-1])


@alternative
def entropy_by_nan_to_num(p):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.nan_to_num(p * np.log(p)).sum(axis=-1)


@alternative
def entropy_by_masked_logarithm(p):
    logs = np.log(p, where=p > 0, out=np.zeros_like(p))
    return -np.einsum("...i,...i->...", p, logs)


@alternative
def perplexity_by_fsum(p):
    if (p == 0).any():
        return p.dtype.type(math.inf)
    return p.dtype.type(math.exp(math.fsum(-math.log(v) for v in p.tolist()) / max(p.size, 1)))


@alternative
def perplexity_by_geometric_mean(p):
    with np.errstate(divide="ignore"):
        return np.prod(p.astype(np.float64) ** (-1 / max(p.size, 1))).astype(p.dtype)


@alternative
def perplexity_by_bits(p):
    with np.errstate(divide="ignore"):
        bits = -np.log2(p.astype(np.float64)).sum() / max(p.size, 1)
    return (2**bits).astype(p.dtype)


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
def gelu_by_math_erf(x):
    y = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.ravel().tolist()]
    return np.array(y, x.dtype).reshape(x.shape)


@alternative
def gelu_tanh_by_sigmoid(x):
    z = np.clip(x, -30, 30).astype(np.float64)
    return (x / (1 + np.exp(-2 * (2 / np.pi) ** 0.5 * (z + 0.044715 * z**3)))).astype(x.dtype)


@alternative
def silu_by_tanh(x):
    return 0.5 * x * (1 + np.tanh(0.5 * x))


@alternative
def embedding_by_take(w, ids):
    return np.take(w, ids, axis=0)


@alternative
def embedding_backward_by_one_hot(dy, ids, vocab_size):
    hot = (ids.reshape(-1, 1) == np.arange(vocab_size)).astype(dy.dtype)
    return hot.T @ dy.reshape(ids.size, dy.shape[-1])


@alternative
def embedding_backward_by_loop(dy, ids, vocab_size):
    dw = np.zeros((vocab_size, dy.shape[-1]), dy.dtype)
    for at in np.ndindex(ids.shape):
        dw[ids[at]] += dy[at]
    return dw


@alternative
def rope_by_complex_numbers(x, cos, sin):
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * (cos + 1j * sin)[..., None, :]
    return np.concatenate([turned.real, turned.imag], axis=-1).astype(x.dtype)


@alternative
def rope_by_rotating_half(x, cos, sin):
    """As in Hugging Face's LLaMA."""
    a, b = np.split(x, 2, axis=-1)
    cos, sin = np.tile(cos, 2)[..., None, :], np.tile(sin, 2)[..., None, :]
    return x * cos + np.concatenate([-b, a], axis=-1) * sin


@alternative
def attention_by_einsum(q, k, v, causal=True, lengths=None):
    B, S, H, D = q.shape
    T, K = k.shape[1:3]
    scores = np.einsum("bskgd,btkd->bkgst", q.reshape(B, S, K, H // K, D) / q.dtype.type(D**0.5), k)
    ends = np.full(B, T) if lengths is None else lengths.astype(np.int64)
    token = ends[:, None] - S + np.arange(S)
    last = token if causal else np.broadcast_to(ends[:, None] - 1, (B, S))
    seen = np.arange(T) <= np.minimum(last, ends[:, None] - 1)[..., None]
    scores = np.where(seen[:, None, None], scores, scores.dtype.type(-np.inf))
    y = np.einsum("bkgst,btkd->bskgd", softmax(scores), v).reshape(q.shape)
    lse = np.logaddexp.reduce(scores, axis=-1, initial=-np.inf).astype(q.dtype)
    return y, lse.reshape(B, H, S)


@alternative
def attention_by_loops(q, k, v, causal=True, lengths=None):
    (B, S, H, D), (_, T, K, _) = q.shape, k.shape
    y, lse = np.zeros_like(q), np.full((B, H, S), -np.inf, q.dtype)
    for b, s, h in np.ndindex(B, S, H):
        n = T if lengths is None else int(lengths[b])
        visible = min(n, n - S + s + 1) if causal else n
        keys, values = (x[b, : max(visible, 0), h // (H // K)] for x in (k, v))
        if len(keys):
            scores = keys @ q[b, s, h] / D**0.5
            weights = np.exp(scores - scores.max())
            y[b, s, h] = weights @ values / weights.sum()
            lse[b, h, s] = scores.max() + np.log(weights.sum())
    return y, lse


@alternative
def adamw_step_by_folding(w, g, m, v, step, lr, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0,
                          grad_scale=1.0):
    """As at the end of section 2 of Kingma and Ba: both corrections folded into the step size."""
    g = g * grad_scale
    np.copyto(m, m + (1 - beta1) * (g - m))
    np.copyto(v, beta2 * v + (1 - beta2) * g**2)
    root = (1 - beta2**step) ** 0.5
    decayed = (1 - lr * weight_decay) * w
    np.copyto(w, decayed - lr * root / (1 - beta1**step) * m / (np.sqrt(v) + eps * root))


@alternative
def grad_norm_by_concatenation(grads):
    flat = [g.ravel().astype(np.float64) for g in grads]
    return float(np.linalg.norm(np.concatenate([np.zeros(1), *flat])))


@alternative
def clip_grads_by_multiplying_always(grads, norm, limit):
    scale = min(1.0, limit / norm) if norm else 1.0
    return [g * scale for g in grads]


@alternative
def top_k_by_sorting_pairs(logits, k):
    y = np.full_like(logits, -np.inf)
    for at in np.ndindex(logits.shape[:-1]):
        best = sorted(range(logits.shape[-1]), key=lambda i: (-logits[at][i], i))[:k]
        y[at][best] = logits[at][best]
    return y


@alternative
def top_p_by_loop(logits, p):
    y = np.full_like(logits, -np.inf)
    probs = softmax(logits)
    for at in np.ndindex(logits.shape[:-1]):
        reached = 0.0
        for i in sorted(range(logits.shape[-1]), key=lambda i: (-logits[at][i], i)):
            if reached >= p * float(probs[at].sum()):
                break
            y[at][i] = logits[at][i]
            reached += float(probs[at][i])
    return y


@alternative
def min_p_by_logits(logits, p):
    edge = logits.max(axis=-1, keepdims=True, initial=-np.inf) + (np.log(p) if p else -np.inf)
    return np.where(logits >= edge, logits, logits.dtype.type(-np.inf))


@alternative
def sample_by_searchsorted(probs, u):
    ids = np.empty(probs.shape[:-1], np.int64)
    for at in np.ndindex(ids.shape):
        reached = np.cumsum(probs[at].astype(np.float64))
        last = np.flatnonzero(probs[at])[-1]
        ids[at] = min(np.searchsorted(reached, np.asarray(u)[at] * reached[-1], side="right"), last)
    return ids


@alternative
def round_bf16_by_mantissa(x):
    """Round the mantissa as a number, not as bits."""
    wide = np.asarray(x, np.float32).astype(np.float64)
    mantissa, exponent = np.frexp(wide)
    y = np.ldexp(np.round(np.ldexp(mantissa, 8)), exponent - 8)
    tiny = np.round(wide * 2.0**133) * 2.0**-133  # below 2^-126 the last bit is always worth 2^-133
    y = np.where(np.abs(wide) < 2.0**-126, tiny, y)
    return np.where(np.isfinite(wide), y, wide).astype(np.float32)


@pytest.mark.parametrize("name, function", ALTERNATIVES, ids=[f.__name__ for _, f in ALTERNATIVES])
@settings(max_examples=40)
@given(data=st.data())
def test_a_right_solution_is_accepted(name, function, data):
    args = data.draw(CASES[name])
    check(name, function, args)
    assert diagnose(name, args, run(name, function, args)) is None
