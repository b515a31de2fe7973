"""Provide test cases, common mistakes and correct variants for the attention ops."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import softmax
from tinyllm.ops.attention import sum_groups, to_heads
from tinyllm.ops.autograd import sum_to_shape
from tinyllm.ops.mask import attention_mask, key_ranges, ranges_mask
from tinyllm.testing.arrays import CASES, MODEST, SIZES, USUAL, axis, cases, few, floats, ints, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, bound, largest, of_terms
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import EXTREME
from tinyllm.testing.relations import backward_cases, run_spec

queries = axis(*SIZES, 130)
widths = st.sampled_from((2, 1, 3, 4, 7, 8, 16, 20, 32, 64, 65))


@cases("attention")
def attention(draw, kinds=USUAL):
    """Draw a case of attention: as many queries as keys, fewer queries (as in decoding), or rarely more."""
    B, S, K, D = draw(few), draw(queries), draw(st.sampled_from((1, 2, 3))), draw(widths)
    n = draw(sizes)
    T = draw(st.sampled_from((S + n, S, S + n, n)))
    H = K * draw(st.sampled_from((1, 2, 3)))
    causal = draw(st.booleans())
    lengths = ints(draw, (B,), T + 1) if draw(st.booleans()) else None
    q, k = floats(draw, (B, S, H, D), kinds), floats(draw, (B, T, K, D), kinds)
    return q, k, floats(draw, (B, T, K, D)), causal, lengths


@cases("attention_ranges")
def attention_ranges(draw, kinds=USUAL):
    """Draw a case of attention_ranges: windows or random ranges of keys, some empty; sometimes a bias."""
    q, k, v, causal, lengths = draw(attention(kinds))
    (B, S, H, _), T = q.shape, k.shape[1]
    window = draw(st.sampled_from((1, 3, 70, None)))
    if window is None:
        starts, ends = ints(draw, (B, S), T + 1), ints(draw, (B, S), T + 1)
    else:
        starts, ends = key_ranges((B, S), T, causal, lengths, window)
    shape = draw(st.sampled_from((None, (H, S, T), (H, 1, T), (S, T), (1, S, 1))))
    bias = None if shape is None else floats(draw, shape, MODEST)
    return q, k, v, starts, ends, bias


class ScoreBounds:
    """Hold the attention scores of one case, and bound the float32 errors of all that follows from them."""

    def __init__(self, q, k, v, seen, bias=0):
        self.D, self.T = q.shape[3], k.shape[1]
        self.group = q.shape[2] // k.shape[2]
        self.q = to_heads(q)
        self.k, self.v = to_heads(k, self.group), to_heads(v, self.group)
        scale = self.D**-0.5
        self.seen = np.broadcast_to(seen, (*self.q.shape[:3], self.T))
        self.scores = np.where(self.seen, self.q @ self.k.swapaxes(-1, -2) * scale + bias, -np.inf)
        sizes = np.abs(self.q) @ np.abs(self.k).swapaxes(-1, -2) * scale + np.abs(bias)
        self.score_off = np.where(self.seen, EPS * (self.D + 8) * sizes, 0)

    def y_off(self):
        """Bound the error of y by |v| times the weights' error, or by 2 max |v| if scores are inexact."""
        p = run_spec("softmax", (self.scores,))
        worst = largest(self.score_off)
        relative = np.expm1(np.minimum(2 * worst, 0.5)) + EPS * (2 * self.T + 16)
        off = relative * (p @ np.abs(self.v))
        return np.where(worst > 0.1, 2 * largest(self.v, axis=2), off) + TINY

    def bound(self, results):
        """Bound the errors of y and of lse, the log of the sum of exp(scores)."""
        lse = np.where(np.isfinite(results[1]), np.abs(results[1]), 0)
        return self.y_off().swapaxes(1, 2), largest(self.score_off)[..., 0] + EPS * (self.T + 8 + lse)

    def backward_bound(self, dy, lse):
        """Bound the errors of dq, dk, dv and dscores, given rounding and the errors of the weights p."""
        S = dy.shape[1]
        lse = np.where(np.isfinite(lse), lse, 0)[..., None]
        p = np.exp(self.scores - lse)
        scores = np.where(self.seen, np.abs(self.scores), 0)
        relative = np.expm1(self.score_off + EPS * (scores + np.abs(lse)))
        relative += EPS * (self.T + 2 * self.D + 16)
        dout = np.abs(to_heads(dy))
        dp = dout @ np.abs(self.v).swapaxes(-1, -2)
        total = (p * dp).sum(-1, keepdims=True)
        total_off = (p * relative * dp).sum(-1, keepdims=True)
        total_off += (dout * self.y_off()).sum(-1, keepdims=True)
        dscores = p * (relative * (dp + total) + total_off)
        dscores += p * (dp + total) * EPS * (S * self.group + self.T)  # rounding in the sums over dscores
        ds = dscores * self.D**-0.5
        dv = (p * (relative + EPS * S * self.group)).swapaxes(-1, -2) @ dout
        dq, dk = ds @ np.abs(self.k), ds.swapaxes(-1, -2) @ np.abs(self.q)
        terms = EPS * len(dy) * S * p * (dp + total)  # rounding in dbias, which is a sum over the batch
        dk, dv = (sum_groups(dx, self.group) + TINY for dx in (dk, dv))
        return dq.swapaxes(1, 2) + TINY, dk, dv, dscores + terms


def attention_sizes(q, k, v, causal, lengths):
    """Compute the scores of a case of attention, and bounds for their float32 errors."""
    return ScoreBounds(q, k, v, attention_mask(q, k, causal, lengths))


def ranges_sizes(q, k, v, starts, ends, bias):
    """Compute the scores of a case of attention_ranges, and bounds for their float32 errors."""
    return ScoreBounds(q, k, v, ranges_mask(starts, ends, k.shape[1]), 0 if bias is None else bias)


@bound("attention_ranges_backward")
def ranges_backward_bound(args, results):
    """Bound the errors of dq, dk, dv and dbias of attention_ranges in float32."""
    dy, q, k, v, starts, ends, bias, _, lse = args
    *others, dscores = ranges_sizes(q, k, v, starts, ends, bias).backward_bound(dy, lse)
    return *others, 0 if bias is None else sum_to_shape(dscores, bias.shape) + TINY


# Backward passes get moderate scores: with scores of a million, float32 cannot recompute a probability.
CASES |= {
    "attention_backward": backward_cases("attention", attention(MODEST)),
    "attention_ranges_backward": backward_cases("attention_ranges", attention_ranges(MODEST)),
}
BOUNDS |= {
    "attention": lambda args, results: attention_sizes(*args).bound(results),
    "attention_backward": lambda args, results:  # dy, q, k, v, y, lse, causal, lengths -> dq, dk, dv
        attention_sizes(*args[1:4], *args[6:]).backward_bound(args[0], args[5])[:3],
    "attention_ranges": lambda args, results: ranges_sizes(*args).bound(results),
}

SCALE = "q.shape[3] ** -0.5"
SEEN = "attention_mask(q, k, causal, lengths)"
TILED = "x.swapaxes(1, 2).repeat(group, axis=1)", "np.tile(x.swapaxes(1, 2), (1, group, 1, 1))"

mistake("attention", "attention without the 1/sqrt(D) factor", SCALE, "1.0")
mistake("attention", "scores divided by D, not by sqrt(D)", SCALE, "q.shape[3] ** -1.0")
mistake("attention", "attention scaled by 1/sqrt(H D), the whole width instead of one head's", SCALE,
        "(q.shape[2] * q.shape[3]) ** -0.5")
mistake("attention", "attention without the causal mask", SEEN, "attention_mask(q, k, False, lengths)")
mistake("attention", "a causal mask for queries that are the first S of the keys: they are the last S",
        "n - S + np.arange(S)[:, None]", "np.arange(S)[:, None]")
mistake("attention", "queries taken for the last S of all T keys, where they are the last S of their row's",
        "n - S + np.arange(S)[:, None]", "T - S + np.arange(S)[:, None]")
mistake("attention", "a causal mask that is off by one and hides a token from itself", "key <= token",
        "key < token")
mistake("attention", "a causal mask that is off by one and shows the next token", "key <= token",
        "key <= token + 1")
mistake("attention", "a mask applied after softmax, so that the rows no longer sum to 1", "softmax(scores)",
        f"softmax(masked_scores(q, k, False, None)) * {SEEN}")
mistake("attention", "attention without subtracting the largest score, so that exp overflows",
        "m = row_max(x)", "m = 0", "softmax(scores)",
        "np.exp(scores) / np.maximum(np.exp(scores).sum(axis=-1, keepdims=True), 1e-37)", breaks=EXTREME)
mistake("attention", "NaN for a query that sees no key, whose y must be 0", "y.swapaxes(1, 2)",
        "np.where(logsumexp(scores)[..., None] == -np.inf, np.nan, y).swapaxes(1, 2)")
mistake("attention", "query head h reading kv head h modulo K, where h // (H / K) is right", *TILED)
mistake("attention", "softmax over the queries, where it must be over the keys", "softmax(scores)",
        "softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2)")
mistake("attention", "the largest score returned where its log-sum-exp was asked for", "logsumexp(scores)",
        "scores.max(axis=-1, initial=-np.inf)")


@variant("attention")
def attention_by_einsum(q, k, v, causal=True, lengths=None):
    B, S, H, D = q.shape
    T, K = k.shape[1:3]
    scores = np.einsum("bskgd,btkd->bkgst", q.reshape(B, S, K, H // K, D) / q.dtype.type(D**0.5), k)
    ends = np.full(B, T) if lengths is None else lengths.astype(np.int64)
    token = ends[:, None] - S + np.arange(S)
    last = token if causal else np.broadcast_to(ends[:, None] - 1, (B, S))
    seen = np.arange(T) <= np.minimum(last, ends[:, None] - 1)[..., None]
    scores = np.where(seen[:, None, None], scores, scores.dtype.type(-np.inf))
    y = np.einsum("bkgst,btkd->bskgd", softmax(scores), v).reshape(q.shape)
    lse = np.logaddexp.reduce(scores, axis=-1, initial=-np.inf).astype(q.dtype)
    return y, lse.reshape(B, H, S)


@variant("attention")
def attention_by_loops(q, k, v, causal=True, lengths=None):
    (B, S, H, D), (_, T, K, _) = q.shape, k.shape
    y, lse = np.zeros_like(q), np.full((B, H, S), -np.inf, q.dtype)
    for b, s, h in np.ndindex(B, S, H):
        n = T if lengths is None else int(lengths[b])
        visible = min(n, n - S + s + 1) if causal else n
        keys, values = (x[b, : max(visible, 0), h // (H // K)] for x in (k, v))
        if len(keys):
            scores = keys @ q[b, s, h] / D**0.5
            weights = np.exp(scores - scores.max())
            y[b, s, h] = weights @ values / weights.sum()
            lse[b, h, s] = scores.max() + np.log(weights.sum())
    return y, lse


@cases("induction_score")
def induction_score(draw):
    """Draw the attention weights of some heads, causal or not, and a period."""
    T, heads = draw(queries), draw(few)
    seen = np.tri(T, dtype=bool) | draw(st.booleans())
    weights = run_spec("softmax", (np.where(seen, floats(draw, (heads, T, T), MODEST), -np.inf),))
    return weights, draw(st.sampled_from((3, 2, 5, T + 1)))


BOUNDS["induction_score"] = of_terms(lambda results, weights, period: weights.shape[-1] ** 2 * results[0])
mistake("induction_score", "the weights of the earlier occurrences themselves, not of what followed them",
        "(query + 1 - key) % period == 0", "((query - key) % period == 0) & (key < query)")
mistake("induction_score", "the weight after the last earlier occurrence only, not after all of them",
        "(query + 1 - key) % period == 0", "query + 1 - key == period")
mistake("induction_score", "a mean over all queries, though those of the first period can repeat nothing",
        "max(weights.shape[-1] - period, 1)", "weights.shape[-1]")
variant("induction_score")(lambda weights, period: sum(
    (weights[:, s, range(s - period + 1, 0, -period)].sum(1) for s in range(period, weights.shape[2])),
    np.zeros(len(weights), weights.dtype)) / max(weights.shape[2] - period, 1))
