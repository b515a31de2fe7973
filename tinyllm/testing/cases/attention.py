"""Cases of attention."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops.attention import heads_first, visible
from tinyllm.testing.arrays import MODEST, SIZES, USUAL, few, floats, ints, sizes
from tinyllm.testing.bounds import EPS, TINY, largest
from tinyllm.testing.relations import backward_args, run_spec

queries = st.sampled_from((*SIZES, 130))
widths = st.sampled_from((2, 1, 3, 4, 7, 8, 16, 20, 32, 64, 65))


@st.composite
def attention(draw, kinds=USUAL):
    """All of a sequence, the end of one (decoding, chunked prefill), or, rarely, more queries than keys."""
    B, S, K, D = draw(few), draw(queries), draw(st.sampled_from((1, 2, 3))), draw(widths)
    T = draw(sizes) + (S if draw(st.sampled_from((True, True, False))) else 0)
    H = K * draw(st.sampled_from((1, 2, 3)))
    causal = draw(st.booleans())
    lengths = ints(draw, (B,), T + 1) if draw(st.booleans()) else None
    q, k = floats(draw, (B, S, H, D), kinds), floats(draw, (B, T, K, D), kinds)
    return q, k, floats(draw, (B, T, K, D)), causal, lengths


@st.composite
def attention_backward(draw):
    """Queries and keys are modest: from scores of a million, float32 cannot compute a probability twice."""
    args = draw(attention(MODEST))
    result = run_spec("attention", args)
    return backward_args("attention", args, result, floats(draw, result[0].shape))


class Sizes:
    """What the tolerances need to know of one case: the scores, and how far off each may be."""

    def __init__(self, q, k, v, causal, lengths):
        self.D, self.T = q.shape[3], k.shape[1]
        self.group = q.shape[2] // k.shape[2]
        self.q = heads_first(q)
        self.k, self.v = heads_first(k, self.group), heads_first(v, self.group)
        scale = self.D**-0.5
        self.seen = np.broadcast_to(visible(q, k, causal, lengths), (*self.q.shape[:3], self.T))
        self.scores = np.where(self.seen, self.q @ self.k.swapaxes(-1, -2) * scale, -np.inf)
        sizes = np.abs(self.q) @ np.abs(self.k).swapaxes(-1, -2) * scale
        self.score_off = np.where(self.seen, EPS * (self.D + 8) * sizes, 0)

    def y_off(self):
        """Each probability is off by its score's error and by the sum's; y lies between the values anyhow."""
        p = run_spec("softmax", (self.scores,))
        worst = largest(self.score_off)
        relative = np.expm1(np.minimum(2 * worst, 0.5)) + EPS * (2 * self.T + 16)
        off = relative * (p @ np.abs(self.v))
        return np.where(worst > 0.1, 2 * largest(self.v, axis=2), off) + TINY


def attention_bound(args, results):
    """The errors of y, and for lse that of the largest score plus those of the sum and the logarithm."""
    case = Sizes(*args)
    lse = np.where(np.isfinite(results[1]), np.abs(results[1]), 0)
    return case.y_off().swapaxes(1, 2), largest(case.score_off)[..., 0] + EPS * (case.T + 8 + lse)


def attention_backward_bound(args, results):
    """p = exp(score - lse) is off by `relative`; the rest is the formulas with every term made positive."""
    dy, q, k, v, _, lse, causal, lengths = args
    case = Sizes(q, k, v, causal, lengths)
    lse = np.where(np.isfinite(lse), lse, 0)[..., None]
    p = np.exp(case.scores - lse)
    scores = np.where(case.seen, np.abs(case.scores), 0)
    relative = np.expm1(case.score_off + EPS * (scores + np.abs(lse)))
    relative += EPS * (case.T + 2 * case.D + 16)
    dout = np.abs(heads_first(dy))
    dp = dout @ np.abs(case.v).swapaxes(-1, -2)
    total = (p * dp).sum(-1, keepdims=True)
    total_off = (p * relative * dp).sum(-1, keepdims=True) + (dout * case.y_off()).sum(-1, keepdims=True)
    ds = p * (relative * (dp + total) + total_off) * case.D**-0.5
    ds += p * (dp + total) * case.D**-0.5 * EPS * (q.shape[1] * case.group + case.T)  # the sums over ds

    def shared(dx):
        B, H, T, D = dx.shape
        return dx.reshape(B, H // case.group, case.group, T, D).sum(axis=2).swapaxes(1, 2) + TINY

    dv = (p * (relative + EPS * q.shape[1] * case.group)).swapaxes(-1, -2) @ dout
    dq, dk = ds @ np.abs(case.k), ds.swapaxes(-1, -2) @ np.abs(case.q)
    return dq.swapaxes(1, 2) + TINY, shared(dk), shared(dv)


CASES = {"attention": attention(), "attention_backward": attention_backward()}
BOUNDS = {"attention": attention_bound, "attention_backward": attention_backward_bound}
