"""Provide test cases, common mistakes and correct variants for losses, and for the targets of answers."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.shapes import rows
from tinyllm.rng import Random
from tinyllm.testing.arrays import CASES, MODEST, cases, few, floats, ints, leading, scores, seeds, sizes
from tinyllm.testing.bounds import EPS, TINY, bound, largest
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME
from tinyllm.testing.relations import backward_cases


@cases("cross_entropy", "token_losses")
def cross_entropy(draw):
    """Draw logits, some of them -inf, and targets; some, all or none of the targets are ignored."""
    shape, vocab = draw(leading), draw(sizes) or 1
    targets, ignore_index = some_ignored(draw, shape, vocab)
    logits = scores(draw, (*shape, vocab))
    if np.isneginf(logits).any():  # then rows whose target does not count have nothing else
        logits = np.where((targets == ignore_index)[..., None], np.float32(-np.inf), logits)
    return logits, targets, ignore_index


def some_ignored(draw, shape, vocab):
    """Draw (targets, ignore_index); some, all or none of the targets equal ignore_index."""
    ignore_index = draw(st.sampled_from((-100, -1, 0)))
    targets = ints(draw, shape, vocab)
    share = draw(st.sampled_from((0.0, 0.5, 0.3, 1.0)))
    if share:
        targets = np.array(targets)
        targets[Random(share, "ignored").uniform(shape) < share] = ignore_index
    return targets, ignore_index


@cases("linear_token_losses")
def linear_token_losses(draw):
    """Draw the input and the weight table of the output layer, and targets, some of them ignored."""
    shape, vocab, width = draw(leading), draw(sizes) or 1, draw(sizes)
    x, w = floats(draw, (*shape, width), kinds=MODEST), floats(draw, (vocab, width), kinds=MODEST)
    return x, w, *some_ignored(draw, shape, vocab)


def lse_off(logits):
    """Bound the float32 error of the log-sum-exp of each row of logits."""
    return EPS * (8 + logits.shape[-1] + 4 * largest(logits)[..., 0])


@bound("cross_entropy")
def cross_entropy_bound(args, results):
    """Bound the float32 errors of the mean loss and of lse, the log-sum-exp of each row of logits."""
    logits, targets, _ = args
    each = lse_off(logits)
    return EPS * (targets.size + 4) * np.abs(results[0]) + 3 * np.max(each, initial=EPS), each


@bound("cross_entropy_backward")
def cross_entropy_backward_bound(args, results):
    """Bound the float32 errors of dlogits, the gradient of the mean loss without ignored targets."""
    dloss, _, targets, lse, ignore_index = args
    count = max(int(np.sum(targets != ignore_index)), 1)
    return token_losses_backward_bound((np.full_like(lse, dloss / count), *args[1:]), results)


@bound("token_losses")
def token_losses_bound(args, results):
    """Bound the float32 errors of each token's loss and of lse, the log-sum-exp of each row of logits."""
    each = lse_off(args[0])
    return each + 2 * EPS * np.abs(results[0]), each


@bound("token_losses_backward")
def token_losses_backward_bound(args, results):
    """Bound the float32 error of dlogits: the argument of exp is rounded, and so is p - 1 at targets."""
    dlosses, logits, _, lse, _ = args
    p = np.exp(logits - lse[..., None]) * (8 + 2 * largest(logits) + np.abs(lse)[..., None])
    return (EPS * np.abs(dlosses)[..., None] * (p + 4) + TINY,)


def logits_of(x, w):
    """Return the logits x w^T (..., V), and for each row a bound (..., 1) of their float32 errors."""
    sizes = np.abs(x) @ np.abs(w).T
    return x @ w.T, EPS * (2 + w.shape[1]) * largest(sizes)


@bound("linear_token_losses")
def linear_token_losses_bound(args, results):
    """Bound the float32 errors of losses and lse, which are computed from inexact logits x w^T."""
    x, w, targets, ignore_index = args
    logits, off = logits_of(x, w)
    losses, each = token_losses_bound((logits, targets, ignore_index), results)
    return losses + 2 * off[..., 0], each + off[..., 0]


@bound("linear_token_losses_backward")
def linear_token_losses_backward_bound(args, results):
    """Bound the float32 errors of dx and dw, which are products with inexact dlogits."""
    dlosses, x, w, targets, lse, ignore_index = args
    logits, off = logits_of(x, w)
    kept = (targets != ignore_index)[..., None]
    (each,) = token_losses_backward_bound((dlosses, logits, targets, lse, ignore_index), results)
    p, scale = np.exp(logits - lse[..., None]), np.abs(dlosses)[..., None]
    each = np.where(kept, each + scale * p * np.expm1(off) * 2, 0)  # NaN in an ignored row stays there
    size = each + np.where(kept, scale * (p + (np.arange(len(w)) == targets[..., None])), 0)
    V, N, x_size = len(w), targets.size, rows(np.abs(x))
    dx = each @ np.abs(w) + EPS * (2 + V) * size @ np.abs(w)
    return dx + TINY, rows(each).T @ x_size + EPS * (2 + N) * rows(size).T @ x_size + TINY


CASES["cross_entropy_backward"] = backward_cases(
    "cross_entropy", cross_entropy(), ("equal", "normal", "zero", "large"))

MEAN = "nll.sum() / max(nll.size, 1)"
NLL = "lse[kept] - logits[kept, targets[kept]]"
FROM_THE_END = "lse - np.take_along_axis(logits, targets[..., None] % logits.shape[-1], axis=-1)[..., 0]"

mistake("cross_entropy", "the mean over all targets, the ignored ones too", "max(nll.size, 1)",
        "max(targets.size, 1)")
mistake("cross_entropy", "ignored targets scored as if they were tokens, counted from the end", NLL,
        FROM_THE_END)
mistake("cross_entropy", "ignored targets scored as if they were token 0", NLL,
        "lse - np.take_along_axis(logits, np.maximum(targets[..., None], 0), axis=-1)[..., 0]")
mistake("cross_entropy", "log-sum-exp without subtracting the maximum, so that exp overflows",
        "m = row_max(x)", "m = 0", breaks=EXTREME)
mistake("cross_entropy", "bits (log base 2) where nats are asked for", MEAN, f"{MEAN} * 1.4426950408889634")
mistake("cross_entropy", "-log(p + 1e-9), which caps the loss and hides the worst predictions", NLL,
        "-np.log(np.exp(logits[kept, targets[kept]] - lse[kept]) + 1e-9)", breaks=EXTREME)
mistake("cross_entropy_backward", "a gradient divided by all targets, the ignored ones too",
        "max(int(kept.sum()), 1)", "max(targets.size, 1)")
mistake("cross_entropy_backward", "softmax alone, without the 1 that is subtracted at each target",
        "dlogits[kept, targets[kept]] -= 1", "")


@variant("cross_entropy")
def cross_entropy_by_picking(logits, targets, ignore_index=-100):
    wide = logits.astype(np.float64)
    lse = np.logaddexp.reduce(wide, axis=-1)
    kept = targets != ignore_index
    picked = np.take_along_axis(wide, np.where(kept, targets, 0)[..., None], axis=-1)[..., 0]
    loss = np.where(kept, lse - picked, 0).sum() / max(int(kept.sum()), 1)
    return np.array(loss, logits.dtype), lse.astype(logits.dtype)


@variant("cross_entropy_backward")
def cross_entropy_backward_by_one_hot(dloss, logits, targets, lse, ignore_index=-100):
    kept = (targets != ignore_index)[..., None]
    hot = np.arange(logits.shape[-1]) == targets[..., None]
    p = np.exp(logits - lse[..., None])
    each = dloss / max(int(kept.sum()), 1)
    return np.where(kept, (p - hot.astype(p.dtype)) * each, p.dtype.type(0))


@cases("answer_targets")
def answer_targets(draw):
    """Draw rows of token ids, and where answers begin and end; prompts, answers and padding may be empty."""
    B, n, rng = draw(few), 1 + draw(sizes), Random(draw(seeds), "answers")
    begins, ends = np.sort(rng.integers(n + 1, (2, B)), axis=0)
    return ints(draw, (B, n), 50), begins * draw(st.sampled_from((1, 1, 0))), ends


INSIDE = "(begins[:, None] <= place) & (place < ends[:, None])"

mistake("answer_targets", "every token as its own target: a model should write the next one", "rows[:, 1:]",
        "rows[:, :-1]")
mistake("answer_targets", "no target for the first token of the answer, and one for the token after its end",
        "np.arange(1, rows.shape[1])", "np.arange(rows.shape[1] - 1)")
mistake("answer_targets", "targets in the prompt, too", INSIDE, "place < ends[:, None]")
mistake("answer_targets", "targets in the padding, too", INSIDE, "begins[:, None] <= place")


@variant("answer_targets")
def answer_targets_row_by_row(rows, begins, ends):
    targets = np.full_like(rows[:, 1:], -100)
    for row, target, begin, end in zip(rows, targets, begins.tolist(), ends.tolist(), strict=True):
        target[max(begin - 1, 0) : max(end - 1, 0)] = row[max(begin, 1) : end]
    return targets
