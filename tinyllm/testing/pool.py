"""Provide test cases, common mistakes and correct variants for mean pooling and the contrastive loss."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.testing.advantage import padded
from tinyllm.testing.arrays import CASES, MODEST, cases, few, floats, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, bound, of_terms, ulps
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.loss import cross_entropy_backward_bound, cross_entropy_bound, logits_of


@cases("contrastive_loss")
def contrastive_loss(draw):
    """Draw N vectors, a partner for each vector (sometimes very similar), and a temperature."""
    N, C = draw(few), draw(sizes)
    a, b = (floats(draw, (N, C), kinds=MODEST) for _ in range(2))
    return a, a + np.float32(0.1) * b if draw(st.booleans()) else b, draw(st.sampled_from((1.0, 0.5, 0.05)))


@bound("contrastive_loss")
def contrastive_loss_bound(args, results):
    """Bound the errors of loss, logits and lse; inexact logits add to the error bounds of cross_entropy."""
    a, b, temperature = args
    logits, off = logits_of(a, b)
    logits, off = logits / temperature, (off + 2 * EPS * np.abs(logits)) / temperature
    N = len(logits)
    worst = off.max(axis=-1, initial=0)
    loss, lse = cross_entropy_bound((logits, np.arange(N), -100), (results[0], results[2]))
    return loss + 2 * worst.max(initial=0), off, lse + worst


@bound("contrastive_loss_backward")
def contrastive_loss_backward_bound(args, results):
    """Bound the float32 errors of da and db, which are products of an inexact dlogits with b and with a."""
    dloss, a, b, temperature, logits, lse = args
    N = len(a)
    ids = np.arange(N)
    (each,) = cross_entropy_backward_bound((dloss, logits, ids, lse, -100), results)
    size = np.abs(dloss) * (np.exp(logits - lse[:, None]) + np.eye(N)) / max(N, 1)
    each, size = (each + 2 * EPS * size) / temperature, (each + size) / temperature
    da = each @ np.abs(b) + EPS * (2 + N) * size @ np.abs(b)
    return da + TINY, each.T @ np.abs(a) + EPS * (2 + N) * size.T @ np.abs(a) + TINY


CASES["mean_pool"] = padded("mean_pool", few.map(lambda n: n or 1), least=1)
BOUNDS |= {
    "mean_pool": of_terms(lambda _, x, lengths: (2 + x.shape[1]) * np.where(
        (np.arange(x.shape[1]) < lengths[:, None])[..., None], np.abs(x), 0).sum(axis=1) / lengths[:, None]),
    "mean_pool_backward": ulps(2),
}

MEAN = "kept.sum(axis=1) / lengths[:, None].astype(x.dtype)"

mistake("mean_pool", "the mean of all positions, padding too",
        "np.where(before_end(lengths, x.shape[1], 1)[..., None], x, 0)", "x",
        "lengths[:, None].astype(x.dtype)", "x.dtype.type(x.shape[1])")
mistake("mean_pool", "padding left out of the sum, but counted in the divisor",
        "lengths[:, None].astype(x.dtype)", "x.dtype.type(x.shape[1])")
mistake("mean_pool", "the first position of each text, as BERT's pooler takes it", MEAN, "x[:, 0]")
mistake("mean_pool", "the mean over the whole batch", MEAN, """
np.broadcast_to(kept.sum(axis=(0, 1)) / max(lengths.sum(), 1), (x.shape[0], x.shape[2])).astype(x.dtype)""")
mistake("mean_pool_backward", "a gradient that also flows into the padding",
        "np.where(before_end(lengths, x.shape[1], 1)[..., None], share[:, None], dy.dtype.type(0))",
        "np.repeat(share[:, None], x.shape[1], axis=1)")
mistake("mean_pool_backward", "a gradient divided by T, padding counted",
        "lengths[:, None].astype(dy.dtype)", "dy.dtype.type(x.shape[1])")
mistake("mean_pool_backward", "a gradient multiplied by the length, where it is divided",
        "dy / lengths[:, None].astype(dy.dtype)", "dy * lengths[:, None].astype(dy.dtype)")
mistake("mean_pool_backward", "x times 0 in the padding, which keeps NaN", "dy.dtype.type(0)", "x * 0")
mistake("contrastive_loss", "the similarity of partners alone, without competitors",
        "matmul(a, b, transpose_b=True)", "np.diag((a * b).sum(axis=-1))")
mistake("contrastive_loss", "the first row of b as everybody's partner", "np.arange(len(a))",
        "np.zeros(len(a), np.int64)")
mistake("contrastive_loss", "a softmax over the rows of a, where it is over those of b",
        "cross_entropy(logits, np.arange(len(a)))", "cross_entropy(logits.T, np.arange(len(a)))")
mistake("contrastive_loss", "the mean of both directions, as in CLIP: only a seeks its b here",
        "return loss, logits, lse",
        "return (loss + cross_entropy(logits.T, np.arange(len(a)))[0]) / 2, logits, lse")


variant("mean_pool")(lambda x, lengths: np.array(
    [row[:n].mean(axis=0) for row, n in zip(x, lengths, strict=True)], x.dtype).reshape(len(x), x.shape[2]))


@variant("contrastive_loss")
def contrastive_loss_by_log_sum_exp(a, b, temperature):
    logits = a.astype(np.float64) @ b.T.astype(np.float64) / temperature
    lse = np.logaddexp.reduce(logits, axis=-1)
    loss = (lse - np.diag(logits)).sum() / max(len(a), 1)
    return tuple(np.asarray(each, a.dtype) for each in (loss, logits, lse))
