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
