"""Mistakes in cross_entropy and in the losses per token."""

import numpy as np

from tinyllm.ops import (
    cross_entropy_backward,
    linear_token_losses,
    linear_token_losses_backward,
    log_softmax,
    softmax,
    token_losses,
    token_losses_backward,
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


@mistake("token_losses", "the logarithm of the wrong sign: log p, not -log p")
def log_likelihood(logits, targets, ignore_index=-100):
    losses, lse = token_losses(logits, targets, ignore_index)
    return -losses, lse


@mistake("token_losses", "ignored targets scored as if they were tokens")
def scores_every_token(logits, targets, ignore_index=-100):
    picked = np.take_along_axis(log_softmax(logits), targets[..., None] % logits.shape[-1], axis=-1)
    return -picked[..., 0], logsumexp(logits)


@mistake("token_losses", "every loss divided by the number of targets that count")
def divides_each(logits, targets, ignore_index=-100):
    losses, lse = token_losses(logits, targets, ignore_index)
    return losses / max(int((targets != ignore_index).sum()), 1), lse


@mistake("token_losses_backward", "one gradient for all tokens, the mean of theirs")
def averages_gradients(dlosses, logits, targets, lse, ignore_index=-100):
    each = np.full_like(dlosses, dlosses.mean() if dlosses.size else 0)
    return token_losses_backward(each, logits, targets, lse, ignore_index)


@mistake("token_losses_backward", "the 1 at the target subtracted after dlosses is multiplied in")
def subtracts_one_late(dlosses, logits, targets, lse, ignore_index=-100):
    kept = targets != ignore_index
    dlogits = np.exp(logits - lse[..., None]) * (dlosses * kept)[..., None]
    dlogits[kept, targets[kept]] -= 1
    return dlogits


@mistake("token_losses_backward", "gradients for every token that also flow into ignored rows")
def pushes_ignored_rows(dlosses, logits, targets, lse, ignore_index=-100):
    kept = targets != ignore_index
    p = np.exp(logits - lse[..., None])
    p[kept, targets[kept]] -= 1
    return p * dlosses[..., None]


@mistake("linear_token_losses", "the labels shifted by one position against the rows of x")
def shifts_rows(x, w, targets, ignore_index=-100):
    return linear_token_losses(x, w, np.roll(targets, 1, axis=-1), ignore_index)


@mistake("linear_token_losses", "logits divided by sqrt(C), as attention divides its scores")
def scales_logits(x, w, targets, ignore_index=-100):
    return token_losses(x @ w.T / max(x.shape[-1], 1) ** 0.5, targets, ignore_index)


@mistake("linear_token_losses", "bits (log base 2) where nats are asked for")
def token_losses_in_bits(x, w, targets, ignore_index=-100):
    losses, lse = linear_token_losses(x, w, targets, ignore_index)
    return losses / np.log(2).astype(losses.dtype), lse


@mistake("linear_token_losses_backward", "dw of the last chunk of rows only, which overwrites the others")
def keeps_the_last(dlosses, x, w, targets, lse, ignore_index=-100):
    dlogits = token_losses_backward(dlosses, x @ w.T, targets, lse, ignore_index)
    half = dlogits.reshape(-1, len(w))[targets.size // 2 :]
    return dlogits @ w, half.T @ x.reshape(-1, w.shape[1])[targets.size // 2 :]


@mistake("linear_token_losses_backward", "the probabilities alone, with no 1 subtracted at the target")
def scores_without_target(dlosses, x, w, targets, lse, ignore_index=-100):
    kept = targets != ignore_index
    dlogits = np.exp(x @ w.T - lse[..., None]) * (kept * dlosses)[..., None]
    return dlogits @ w, dlogits.reshape(-1, len(w)).T @ x.reshape(-1, w.shape[1])


@mistake("linear_token_losses_backward", "a gradient that forgets dlosses")
def ignores_dlosses(dlosses, x, w, targets, lse, ignore_index=-100):
    return linear_token_losses_backward(np.ones_like(dlosses), x, w, targets, lse, ignore_index)
