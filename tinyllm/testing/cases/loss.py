"""Cases of cross_entropy and of the losses per token."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.shapes import rows
from tinyllm.rng import Random
from tinyllm.testing.arrays import MODEST, floats, ints, leading, scores, sizes
from tinyllm.testing.bounds import EPS, TINY, largest
from tinyllm.testing.relations import backward_args, run_spec


@st.composite
def cross_entropy(draw):
    """Logits, some of them -inf, and targets, none, some or all of them ignored."""
    shape, vocab = draw(leading), draw(sizes) or 1
    targets, ignore_index = some_ignored(draw, shape, vocab)
    return scores(draw, (*shape, vocab)), targets, ignore_index


def some_ignored(draw, shape, vocab):
    """Draw targets, none, some or all of them ignored -> targets, ignore_index."""
    ignore_index = draw(st.sampled_from((-100, -1, 0)))
    targets = ints(draw, shape, vocab)
    share = draw(st.sampled_from((0.0, 0.5, 0.3, 1.0)))
    if share:
        targets = np.array(targets)
        targets[Random(share, "ignored").uniform(shape) < share] = ignore_index
    return targets, ignore_index


@st.composite
def linear_token_losses(draw):
    """What the output layer reads, its table, and targets."""
    shape, vocab, width = draw(leading), draw(sizes) or 1, draw(sizes)
    x, w = floats(draw, (*shape, width), kinds=MODEST), floats(draw, (vocab, width), kinds=MODEST)
    return x, w, *some_ignored(draw, shape, vocab)


@st.composite
def with_dloss(draw, name):
    """Cases of a backward: the gradient that comes in is a single number."""
    args = draw(CASES[name])
    dloss = floats(draw, (), kinds=("equal", "normal", "zero", "large"))
    return backward_args(name, args, run_spec(name, args), dloss)


def cross_entropy_bound(args, results):
    """Each log-sum-exp is rounded on the scale of its logits; the mean adds one rounding per row."""
    logits, targets, _ = args
    each = EPS * (8 + logits.shape[-1] + 4 * largest(logits)[..., 0])
    return EPS * (targets.size + 4) * np.abs(results[0]) + 3 * np.max(each, initial=EPS), each


def cross_entropy_backward_bound(args, results):
    """Each probability is off by its exponent's rounding; the 1 at the target by a few of its own."""
    dloss, logits, targets, lse, ignore_index = args
    p = np.exp(logits - lse[..., None]) * (8 + 2 * largest(logits) + np.abs(lse)[..., None])
    count = max(int(np.sum(targets != ignore_index)), 1)
    return (EPS * np.abs(dloss) / count * (p + 4) + TINY,)


def token_losses_bound(args, results):
    """The log-sum-exp's error, and one rounding of the difference."""
    logits, _, _ = args
    each = EPS * (8 + logits.shape[-1] + 4 * largest(logits)[..., 0])
    return each + 2 * EPS * np.abs(results[0]), each


def token_losses_backward_bound(args, results):
    """Each probability is off by its exponent's rounding; the 1 at the target by a few of its own."""
    dlosses, logits, _, lse, _ = args
    p = np.exp(logits - lse[..., None]) * (8 + 2 * largest(logits) + np.abs(lse)[..., None])
    return (EPS * np.abs(dlosses)[..., None] * (p + 4) + TINY,)


def logits_of(x, w):
    """The logits x w^T, and by how much the largest of each row may be off: (..., V), (..., 1)."""
    sizes = np.abs(x) @ np.abs(w).T
    return x @ w.T, EPS * (2 + w.shape[1]) * largest(sizes)


def linear_token_losses_bound(args, results):
    """An error of the logits moves each log-sum-exp, and the logit at the target, by as much at most."""
    x, w, targets, ignore_index = args
    logits, off = logits_of(x, w)
    losses, each = token_losses_bound((logits, targets, ignore_index), results)
    return losses + 2 * off[..., 0], each + off[..., 0]


def linear_token_losses_backward_bound(args, results):
    """The error of dlogits, to which that of the logits adds exp(off) - 1 of p, and of both products."""
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


CASES = {
    "cross_entropy": cross_entropy(),
    "cross_entropy_backward": with_dloss("cross_entropy"),
    "token_losses": cross_entropy(),
    "linear_token_losses": linear_token_losses(),
}
BOUNDS = {
    "cross_entropy": cross_entropy_bound,
    "cross_entropy_backward": cross_entropy_backward_bound,
    "token_losses": token_losses_bound,
    "token_losses_backward": token_losses_backward_bound,
    "linear_token_losses": linear_token_losses_bound,
    "linear_token_losses_backward": linear_token_losses_backward_bound,
}
