"""Right solutions of the ops in sample.py, written differently."""

import numpy as np

from tinyllm.ops import softmax
from tinyllm.testing.alternative import alternative


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
def sample_by_loops(probs, u):
    ids, u = np.empty(probs.shape[:-1], np.int64), np.asarray(u, np.float64)
    for at in np.ndindex(ids.shape):
        row = probs[at].tolist()
        aim = min(u[at] * np.cumsum(probs[at], dtype=np.float64)[-1], np.inf)
        reached = 0.0
        for i, p in enumerate(row):
            reached += p
            if p > 0:
                ids[at] = i
            if reached > aim:
                break
    return ids


@alternative
def sample_by_counting(probs, u):
    reached = np.cumsum(probs, axis=-1, dtype=np.float64)
    below = (reached <= np.asarray(u, np.float64)[..., None] * reached[..., -1:]).sum(axis=-1)
    last = probs.shape[-1] - 1 - (probs[..., ::-1] > 0).argmax(axis=-1)
    return np.minimum(below, last).astype(np.int64)


@alternative
def temperature_by_numpy_divide(logits, t):
    return np.divide(logits, logits.dtype.type(t))


@alternative
def temperature_by_a_copy(logits, t):
    scaled = np.array(logits)
    scaled /= t
    return scaled


@alternative
def temperature_by_float64(logits, t):
    return (logits.astype(np.float64) / t).astype(logits.dtype)


def stable_order(row):
    """Ids of a row, largest logit first, equal ones by id."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


@alternative
def top_k_by_sorting_rows(logits, k):
    y = np.full_like(logits, -np.inf, order="C")
    for at in np.ndindex(logits.shape[:-1]):
        best = stable_order(logits[at].tolist())[:k]
        y[at][best] = logits[at][best]
    return y


@alternative
def top_k_by_rank(logits, k):
    order = np.argsort(-logits, axis=-1, kind="stable")
    rank = np.argsort(order, axis=-1, kind="stable")
    return np.where(rank < k, logits, logits.dtype.type(-np.inf))


@alternative
def top_p_by_rank(logits, p):
    order = np.argsort(-logits, axis=-1, kind="stable")
    sorted_p = np.take_along_axis(softmax(logits), order, axis=-1).astype(np.float64)
    reached = sorted_p.cumsum(axis=-1)
    count = (reached - sorted_p < p * reached[..., -1:]).cumprod(axis=-1).sum(axis=-1, keepdims=True)
    rank = np.argsort(order, axis=-1, kind="stable")
    return np.where(rank < np.maximum(count, 0), logits, logits.dtype.type(-np.inf))


@alternative
def repetition_penalty_by_loops(logits, ids, penalty):
    y = np.array(logits, order="C")
    for at in np.ndindex(logits.shape[:-1]):
        used = np.broadcast_to(ids, (*logits.shape[:-1], ids.shape[-1]))[at]
        for i in set(used.tolist()):
            y[at][i] = logits[at][i] / penalty if logits[at][i] > 0 else logits[at][i] * penalty
    return y


@alternative
def repetition_penalty_by_one_hot(logits, ids, penalty):
    used = (np.asarray(ids)[..., None] == np.arange(logits.shape[-1])).any(axis=-2)
    factor = np.where(logits > 0, 1 / penalty, penalty)
    return np.where(used, logits.astype(np.float64) * factor, logits).astype(logits.dtype)


@alternative
def repetition_penalty_by_masks(logits, ids, penalty):
    used = np.zeros(logits.shape, bool)
    np.put_along_axis(used, np.broadcast_to(ids, (*logits.shape[:-1], ids.shape[-1])), True, axis=-1)
    y = np.array(logits)
    y[used & (logits > 0)] /= penalty
    y[used & (logits <= 0)] *= penalty
    return y


@alternative
def top_p_by_rows(logits, p):
    y = np.full_like(logits, -np.inf, order="C")
    probs = softmax(logits).astype(np.float64)
    for at in np.ndindex(logits.shape[:-1]):
        order, reached = stable_order(logits[at].tolist()), 0.0
        for i in order:
            if reached >= p * np.cumsum(probs[at][order])[-1]:
                break
            y[at][i] = logits[at][i]
            reached += probs[at][i]
    return y
