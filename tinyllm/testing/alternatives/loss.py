"""Right solutions of the ops in loss.py, written differently."""

import math

import numpy as np

from tinyllm.ops import log_softmax, softmax
from tinyllm.testing.alternative import alternative


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
def cross_entropy_by_picking(logits, targets, ignore_index=-100):
    wide = logits.astype(np.float64)
    lse = np.logaddexp.reduce(wide, axis=-1)
    kept = targets != ignore_index
    picked = np.take_along_axis(wide, np.where(kept, targets, 0)[..., None], axis=-1)[..., 0]
    loss = np.where(kept, lse - picked, 0).sum() / max(int(kept.sum()), 1)
    return np.array(loss, logits.dtype), lse.astype(logits.dtype)


@alternative
def cross_entropy_backward_by_subtracting_ones(dloss, logits, targets, lse, ignore_index=-100):
    p = np.exp(logits - lse[..., None]).reshape(-1, logits.shape[-1])
    flat = targets.reshape(-1)
    for i, target in enumerate(flat.tolist()):
        if target == ignore_index:
            p[i] = 0
        else:
            p[i, target] -= 1
    return (p * (dloss / max(int((flat != ignore_index).sum()), 1))).reshape(logits.shape)


@alternative
def cross_entropy_backward_by_softmax(dloss, logits, targets, lse, ignore_index=-100):
    kept = (targets != ignore_index)[..., None]
    dx = softmax(logits)
    place = np.where(kept, targets[..., None], 0)
    np.put_along_axis(dx, place, np.take_along_axis(dx, place, axis=-1) - 1, axis=-1)
    return np.where(kept, dx, dx.dtype.type(0)) * (dloss / max(int(kept.sum()), 1))
