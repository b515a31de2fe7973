"""Mistakes in cross_entropy and linear_cross_entropy."""

import numpy as np

from tinyllm.ops import (
    cross_entropy,
    cross_entropy_backward,
    linear_cross_entropy,
    linear_cross_entropy_backward,
    log_softmax,
    softmax,
)
from tinyllm.ops.softmax import logsumexp
from tinyllm.testing.mistake import mistake
from tinyllm.testing.properties import EXTREME


def surprises(logits, targets, ignore_index):
    """-log p of every target that counts, (kept,)."""
    kept = targets != ignore_index
    return -log_softmax(logits)[kept, targets[kept]]


def scalar(x, like):
    """A number as an array of no axes, in the logits' dtype."""
    return np.asarray(x, like.dtype)


@mistake("cross_entropy", "the losses summed, not averaged")
def sums(logits, targets, ignore_index=-100):
    return scalar(surprises(logits, targets, ignore_index).sum(), logits), logsumexp(logits)


@mistake("cross_entropy", "the mean over all targets, the ignored ones too")
def counts_ignored(logits, targets, ignore_index=-100):
    total = surprises(logits, targets, ignore_index).sum()
    return scalar(total / max(targets.size, 1), logits), logsumexp(logits)


@mistake("cross_entropy", "ignored targets scored as if they were tokens")
def scores_ignored(logits, targets, ignore_index=-100):
    picked = np.take_along_axis(log_softmax(logits), targets[..., None] % logits.shape[-1], axis=-1)
    return scalar(-picked.sum() / max(targets.size, 1), logits), logsumexp(logits)


@mistake("cross_entropy", "labels shifted by one position against the logits")
def shifts_labels(logits, targets, ignore_index=-100):
    moved = np.roll(targets, 1, axis=-1)
    return scalar(surprises(logits, moved, ignore_index).mean(), logits), logsumexp(logits)


@mistake("cross_entropy", "log-sum-exp without subtracting the maximum, so that exp overflows",
         breaks=EXTREME)  # fmt: skip
def without_maximum(logits, targets, ignore_index=-100):
    kept, lse = targets != ignore_index, np.log(np.exp(logits).sum(axis=-1))
    return scalar((lse[kept] - logits[kept, targets[kept]]).sum() / max(kept.sum(), 1), logits), lse


@mistake("cross_entropy", "NaN when every target is ignored: the mean of nothing must be 0")
def mean_of_nothing(logits, targets, ignore_index=-100):
    lost = surprises(logits, targets, ignore_index)
    return scalar(lost.sum() / lost.size if lost.size else np.nan, logits), logsumexp(logits)


@mistake("cross_entropy", "bits (log base 2) where nats are asked for")
def in_bits(logits, targets, ignore_index=-100):
    lost = surprises(logits, targets, ignore_index)
    return scalar(lost.sum() / max(lost.size, 1) / np.log(2), logits), logsumexp(logits)


@mistake("cross_entropy", "-log(p + 1e-9), which caps the loss and hides the worst predictions",
         breaks=EXTREME)  # fmt: skip
def adds_epsilon(logits, targets, ignore_index=-100):
    kept = targets != ignore_index
    lost = -np.log(softmax(logits)[kept, targets[kept]] + 1e-9)
    return scalar(lost.sum() / max(lost.size, 1), logits), logsumexp(logits)


@mistake("cross_entropy", "the log-sum-exp with the maximum left out")
def lse_without_maximum(logits, targets, ignore_index=-100):
    lost = surprises(logits, targets, ignore_index)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return scalar(lost.sum() / max(lost.size, 1), logits), np.log(np.exp(shifted).sum(axis=-1))


@mistake("cross_entropy_backward", "a gradient that is not divided by the number of targets")
def not_averaged(dloss, logits, targets, lse, ignore_index=-100):
    count = max(int((targets != ignore_index).sum()), 1)
    return cross_entropy_backward(dloss, logits, targets, lse, ignore_index) * count


@mistake("cross_entropy_backward", "a gradient divided by all targets, the ignored ones too")
def averaged_over_ignored(dloss, logits, targets, lse, ignore_index=-100):
    share = (targets != ignore_index).sum() / max(targets.size, 1)
    return cross_entropy_backward(dloss, logits, targets, lse, ignore_index) * float(share)


@mistake("cross_entropy_backward", "a gradient that also flows into the rows of ignored targets")
def pushes_ignored(dloss, logits, targets, lse, ignore_index=-100):
    kept = targets != ignore_index
    p = np.exp(logits - lse[..., None])
    p[kept, targets[kept]] -= 1
    return p * (dloss / max(int(kept.sum()), 1))


@mistake("cross_entropy_backward", "a gradient that forgets dloss")
def forgets_dloss(dloss, logits, targets, lse, ignore_index=-100):
    return cross_entropy_backward(1.0, logits, targets, lse, ignore_index)


@mistake("cross_entropy_backward", "the probabilities alone, with no 1 subtracted at the target")
def forgets_the_target(dloss, logits, targets, lse, ignore_index=-100):
    kept = targets != ignore_index
    return np.exp(logits - lse[..., None]) * kept[..., None] * (dloss / max(int(kept.sum()), 1))


@mistake("cross_entropy_backward", "onehot - p, with the sign the wrong way round")
def wrong_sign(dloss, logits, targets, lse, ignore_index=-100):
    return -cross_entropy_backward(dloss, logits, targets, lse, ignore_index)


@mistake("linear_cross_entropy", "the labels shifted by one position against the rows of x")
def shifts_rows(x, w, targets, ignore_index=-100):
    return linear_cross_entropy(x, w, np.roll(targets, 1, axis=-1), ignore_index)


@mistake("linear_cross_entropy", "the mean of the means of two halves, which weighs ignored targets")
def averages_chunks(x, w, targets, ignore_index=-100):
    x, shape, targets = x.reshape(-1, x.shape[-1]), targets.shape, targets.reshape(-1)
    half = max(len(x) // 2, 1)
    parts = [linear_cross_entropy(x[rows], w, targets[rows], ignore_index)
             for rows in (slice(half), slice(half, None))]
    loss = scalar((parts[0][0] + parts[1][0]) / 2, x)
    return loss, np.concatenate([lse for _, lse in parts]).reshape(shape)


@mistake("linear_cross_entropy", "logits divided by sqrt(C), as attention divides its scores")
def scales_logits(x, w, targets, ignore_index=-100):
    return cross_entropy(x @ w.T / max(x.shape[-1], 1) ** 0.5, targets, ignore_index)


def by_rows(dlogits, x, w):
    """dx and dw of x w^T, with x and dlogits of any number of axes."""
    return dlogits @ w, dlogits.reshape(-1, len(w)).T @ x.reshape(-1, w.shape[1])


@mistake("linear_cross_entropy_backward", "dw of the last chunk of rows only, which overwrites the others")
def keeps_the_last(dloss, x, w, targets, lse, ignore_index=-100):
    dlogits = cross_entropy_backward(dloss, x @ w.T, targets, lse, ignore_index)
    half = dlogits.reshape(-1, len(w))[targets.size // 2 :]
    return dlogits @ w, half.T @ x.reshape(-1, w.shape[1])[targets.size // 2 :]


@mistake("linear_cross_entropy_backward", "a gradient divided by all targets, the ignored ones too")
def divides_by_all(dloss, x, w, targets, lse, ignore_index=-100):
    dlogits = averaged_over_ignored(dloss, x @ w.T, targets, lse, ignore_index)
    return by_rows(dlogits, x, w)


@mistake("linear_cross_entropy_backward", "the probabilities alone, with no 1 subtracted at the target")
def scores_without_target(dloss, x, w, targets, lse, ignore_index=-100):
    return by_rows(forgets_the_target(dloss, x @ w.T, targets, lse, ignore_index), x, w)


@mistake("linear_cross_entropy_backward", "a gradient that forgets dloss")
def ignores_dloss(dloss, x, w, targets, lse, ignore_index=-100):
    return linear_cross_entropy_backward(1.0, x, w, targets, lse, ignore_index)
