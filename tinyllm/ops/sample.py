"""Choose the next token from logits: change the distribution, drop unlikely tokens, draw one.

Each filter takes and returns logits (..., V); dropped tokens are -inf. Of equal logits the smaller id wins.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array, ids_below
from tinyllm.ops.softmax import softmax


def keep(logits: Array, kept: Array) -> Array:
    """Set the logits for which `kept` is False to -inf."""
    return np.where(kept, logits, -np.inf)


def by_rank(logits: Array) -> Array:
    """Sort token ids by logit, the largest first -> (..., V). Equal logits are sorted by id; NaN is last."""
    return np.argsort(-logits, axis=-1, kind="stable")


def keep_ranks(logits: Array, order: Array, kept: Array) -> Array:
    """Keep the logits of the tokens order[..., r] for which kept[..., r] is True; the others become -inf."""
    mask = np.empty(logits.shape, bool)
    np.put_along_axis(mask, order, kept, axis=-1)
    return keep(logits, mask)


@op
def temperature(logits: Array, t: float) -> Array:
    """Divide logits by t: a t below 1 sharpens the distribution, a t above 1 flattens it.

    logits (..., V) -> (..., V). Raises ValueError unless t > 0.
    """
    if not t > 0:
        raise ValueError(f"temperature needs t > 0, got {t}; for the most likely token take the argmax")
    return logits / float(t)


@op
def top_k(logits: Array, k: int) -> Array:
    """Keep the k largest logits; the others become -inf.

    logits (..., V) -> (..., V). k may be more than V. Of equal logits the smaller id wins. Raises ValueError
    unless k >= 1.
    """
    if k < 1 or k % 1:
        raise ValueError(f"top_k needs a whole number k >= 1, got {k}")
    rank = np.broadcast_to(np.arange(logits.shape[-1]), logits.shape)
    return keep_ranks(logits, by_rank(logits), rank < k)


@op
def top_p(logits: Array, p: float) -> Array:
    """Keep the fewest most likely tokens whose probabilities sum to p or more; others become -inf.

    logits (..., V) -> (..., V). The token that crosses p stays. Of equal logits the smaller id counts as the
    more likely. Raises ValueError unless 0 < p <= 1. (Holtzman et al. 2020, "nucleus sampling".)
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p needs 0 < p <= 1, got {p}")
    order = by_rank(logits)
    likeliest = np.take_along_axis(softmax(logits), order, axis=-1)
    reached = likeliest.cumsum(axis=-1, dtype=np.float64)
    before = np.concatenate([np.zeros_like(reached[..., :1]), reached[..., :-1]], axis=-1)
    total = reached[..., -1:]  # 1, except for rounding
    return keep_ranks(logits, order, before < p * total)


@op
def min_p(logits: Array, p: float) -> Array:
    """Keep the tokens that are at least p times as likely as the most likely token.

    logits (..., V) -> (..., V). Raises ValueError unless 0 <= p <= 1. (Nguyen et al. 2024.)
    """
    if not 0 <= p <= 1:
        raise ValueError(f"min_p needs 0 <= p <= 1, got {p}")
    probs = softmax(logits)
    return keep(logits, probs >= float(p) * probs.max(axis=-1, keepdims=True, initial=0))


@op
def repetition_penalty(logits: Array, ids: Array, penalty: float) -> Array:
    """Lower the logits of tokens that were already used.

    logits (..., V), ids (..., n) ints -> (..., V). A used token's logit is divided by penalty if it is
    positive, and multiplied by penalty otherwise, no matter how often the token was used. Raises ValueError
    unless penalty > 0, IndexError when an id is outside 0..V-1. (Keskar et al., "CTRL", 2019, section 4.1.)
    """
    if not penalty > 0:
        raise ValueError(f"repetition_penalty needs penalty > 0, got {penalty}")
    ids_below("repetition_penalty", ids, logits.shape[-1])
    used = np.zeros(logits.shape, bool)
    np.put_along_axis(used, np.broadcast_to(ids, (*logits.shape[:-1], ids.shape[-1])), True, axis=-1)
    penalised = np.where(logits > 0, logits / float(penalty), logits * float(penalty))
    return np.where(used, penalised, logits)


@op
def sample(probs: Array, u: Array) -> Array:
    """Draw a token: the smallest id at which the running sum of probabilities exceeds u times the total.

    probs (..., V), u (...) in [0, 1) -> ids (...) int64. A token of probability 0 is never drawn. Sums are
    float64. Raises ValueError when a row has no positive, finite total.
    """
    reached = np.cumsum(probs, axis=-1, dtype=np.float64)
    total = reached[..., -1:]
    if not np.all((total > 0) & (total < np.inf)):
        raise ValueError("sample needs a positive, finite sum of probabilities in every row; are logits NaN?")
    # u * total may round up to total itself, which no running sum exceeds.
    aim = np.minimum(np.asarray(u, np.float64)[..., None] * total, np.nextafter(total, 0))
    return np.asarray((reached > aim).argmax(axis=-1))


@op(outputs=("beams", "tokens", "totals"), grads=(), shapes="scores (N), logprobs (N, V)")
def beam_step(scores: Array, logprobs: Array, count: int) -> tuple[Array, Array, Array]:
    """Do a step of beam search: find the best ways to continue N beginnings of a text by one token.

    scores (N,), the log-probability of each beginning; logprobs (N, V), the log-probability of every next
    token -> beams (the numbers of the beginnings) and tokens, both int64, and totals = score + logprob, each
    (m,), the best first; m is the smaller of count and N V. Of equal totals the smaller beam comes first,
    then the smaller id. Raises ValueError unless count >= 1.
    """
    if count < 1:
        raise ValueError(f"beam_step needs count >= 1, got {count}")
    totals = (scores[:, None] + logprobs).reshape(-1)
    count = min(count, totals.size)
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), totals
    worst = np.partition(-totals, count - 1)[count - 1]  # far faster than sorting all of them
    found = np.flatnonzero(~(-totals > worst))
    best = found[np.argsort(-totals[found], kind="stable")][:count]
    return best // logprobs.shape[1], best % logprobs.shape[1], totals[best]


@op(outputs=("chance",), grads=(), shapes="p (..., V), q (..., V)")
def coupled_acceptance(p: Array, q: Array) -> Array:
    """Return how likely it is that one random number draws the same token from two distributions.

    p (..., V) and q (..., V), probabilities -> (...). `sample` gives each token a part of the line from 0 to
    1, one after the other in the order of the ids, as long as the token is likely. The result is the length
    of the places where both lines have the same token.
    """
    ends_p, ends_q = (np.cumsum(each, axis=-1, dtype=np.float64) for each in (p, q))
    shared = np.minimum(ends_p, ends_q) - np.maximum(ends_p - p, ends_q - q)
    return np.asarray(np.maximum(shared, 0).sum(axis=-1)).astype(p.dtype)


@op(outputs=("written",), grads=(), shapes="p (m, V), q (n, V), tokens (n), u (m)")
def speculative_accept(p: Array, q: Array, tokens: Array, u: Array) -> Array:
    """Keep the first tokens that a draft proposes, and draw the one after them, so that all follow the model.

    q (n, V), the draft's probabilities; tokens (n,), drawn from them; p (n + 1, V), the model's in the same
    places and in the next one; u (n + 1,) in [0, 1) -> int64 (k + 1,), the k tokens that are kept and a new
    one. Token i is kept with probability min(1, p / q), if u_i q < p. The first that is not kept ends it: the
    new token is drawn by u_n from max(p - q, 0) in its place. If all are kept, it is drawn from the last row
    of p. Raises ValueError unless p has a row more than tokens. (Leviathan, Kalman and Matias 2023.)
    """
    n = len(tokens)
    if len(p) != n + 1:
        raise ValueError(f"speculative_accept needs a row of p more than tokens, got {len(p)} and {n}")
    places = np.arange(n)
    kept = u[:n] * q[places, tokens] < p[places, tokens]
    k = int(np.cumprod(kept).sum())
    left = p[n] if k == n else np.maximum(p[k] - q[k], 0)
    return np.append(tokens[:k], sample(left, u[n])).astype(np.int64)
