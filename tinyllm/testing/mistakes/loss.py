"""Mistakes in cross_entropy."""

import numpy as np

from tinyllm.ops import cross_entropy_backward, log_softmax, softmax
from tinyllm.ops.softmax import logsumexp
from tinyllm.testing.mistake import mistake


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


@mistake("cross_entropy", "log-sum-exp without subtracting the maximum, so that exp overflows")
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


@mistake("cross_entropy", "-log(p + 1e-9), which caps the loss and hides the worst predictions")
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
