"""Provide test cases, common mistakes and correct variants for the sampling ops."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.ops import softmax
from tinyllm.rng import Random
from tinyllm.testing.arrays import ANY_LAYOUT, CASES, arrange, cases, ints, leading, scores, seeds, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, NEIGHBOURS, ulps
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import run_spec

KEEPING = tuple(layout for layout in ANY_LAYOUT if layout != "repeated row")  # which changes the numbers
KINDS = ("whole", "normal", "wide", "small", "equal", "far from zero")  # whole, equal: many ties


@st.composite
def logits(draw):
    """Draw rows of logits; a row has one or more logits, and some are -inf."""
    return scores(draw, (*draw(leading), draw(sizes) or 1), KINDS)


def with_number(*choices):
    """Return a strategy for pairs of logits and one of the given numbers, such as k or p."""
    return st.tuples(logits(), st.sampled_from(choices))


@cases("repetition_penalty")
def repetition_penalty(draw):
    """Draw logits, a penalty, and a list of ids for every row; the list may be empty or repeat an id."""
    x = draw(logits())
    used = ints(draw, (*x.shape[:-1], draw(sizes)), x.shape[-1])
    return x, used, draw(st.sampled_from((2.0, 1.0, 1.3, 0.5)))


def make_probs(shape, seed, kind):
    """Make rows of probabilities; the kind "quarters" has multiples of 1/4, and "dense" has no zeros."""
    rng = Random(seed, "probs")
    if kind == "quarters":
        cuts = np.sort(rng.integers(5, (*shape[:-1], shape[-1] - 1)), axis=-1) / 4
        edges = np.zeros((*shape[:-1], 1))
        return np.diff(cuts, axis=-1, prepend=edges, append=edges + 1).astype(np.float32)
    weights = rng.uniform(shape) ** 4
    weights[weights < 0.1] = 0.1 if kind == "dense" else 0
    weights[..., -1:] += 1e-3
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


@cases("sample")
def sample(draw):
    """Draw probabilities and u, which is often exactly at the edge between two tokens, or just below 1.

    Some rows do not sum to 1; for these, u is a share of the row's sum.
    """
    shape = (*draw(leading), draw(sizes) or 1)
    seed, kind = draw(seeds), draw(st.sampled_from(("quarters", "any", "dense")))
    probs = make_probs(shape, seed, kind) * np.float32(draw(st.sampled_from((1, 1, 2, 0.25))))
    probs = arrange(probs, draw(st.sampled_from(KEEPING)))
    u = Random(seed, "u").uniform(shape[:-1])
    how = draw(st.sampled_from(("quarters", "any", "largest", "tail")))
    if how == "tail":  # a likely token, then many so unlikely that adding one changes no float32 sum
        probs = np.full((*shape[:-1], 1000), 3e-8, np.float32)
        probs[..., 0], u = 1, np.full_like(u, 0.99999)
        return probs, u
    return probs, {"quarters": np.floor(u * 4) / 4, "any": u, "largest": np.full_like(u, 1 - 2.0**-53)}[how]


@cases("beam_step")
def beam_step(draw):
    """Draw scores of beams and of next tokens: multiples of 1/64, so that sums are exact and often tie."""
    N, V = draw(st.sampled_from((2, 1, 3, 4))), draw(sizes) or 1
    rng = Random(draw(seeds), "beams")
    scores = -rng.integers(draw(st.sampled_from((9, 400))), N) / 64
    logprobs = -rng.integers(draw(st.sampled_from((9, 400))), (N, V)) / 64
    if draw(st.booleans()):
        logprobs[rng.uniform((N, V)) < 0.3] = -np.inf
    layout = draw(st.sampled_from(KEEPING))
    count = draw(st.sampled_from((2, 1, 4, 8, 100)))
    return scores.astype(np.float32), arrange(logprobs.astype(np.float32), layout), count


@cases("coupled_acceptance")
def coupled_acceptance(draw):
    """Draw two distributions, which are sometimes equal."""
    shape, seed = (*draw(leading), draw(sizes) or 1), draw(seeds)
    p, q = (make_probs(shape, seed + i, draw(st.sampled_from(("any", "quarters", "dense")))) for i in (0, 1))
    return arrange(p, draw(st.sampled_from(KEEPING))), q if draw(st.sampled_from((True, True, False))) else p


@cases("speculative_accept")
def speculative_accept(draw):
    """Draw proposals and probabilities that are multiples of 1/4, so that sums and comparisons are exact."""
    n, V, seed = draw(st.sampled_from((2, 1, 4, 0))), draw(sizes) or 1, draw(seeds)
    p, q = make_probs((n + 1, V), seed, "quarters"), make_probs((n, V), seed + 1, "quarters")
    if draw(st.booleans()):
        p[:n] = q
    rng = Random(seed, "u")
    tokens, u = run_spec("sample", (q, rng.uniform(n))), rng.uniform(n + 1)
    return p, q, tokens, np.floor(16 * u) / 16 if draw(st.booleans()) else u


def near(args, distance, least, most):
    """List two cases in which the second argument is off by `distance`, but between `least` and `most`."""
    return [(args[0], np.clip(args[1] + step, least, most)) for step in (-distance, distance)]


def exact_sums(*numbers):
    """Return True if all numbers are multiples of 1/1024, so that their sums are exact."""
    return all(np.array_equal(1024 * x, np.round(1024 * x)) for x in numbers)


CASES |= {
    "temperature": with_number(1.0, 0.5, 2.0, 0.01),
    "top_k": with_number(1, 2, 3, 5, 40, 1000),
    "top_p": with_number(0.5, 0.9, 0.1, 1.0, 0.99),
    "min_p": with_number(0.5, 0.1, 0.0, 1.0, 0.01),
}
BOUNDS |= {"temperature": ulps(4), "repetition_penalty": ulps(4),
           "coupled_acceptance": lambda args, results: (4 * EPS * (args[0].shape[-1] + 4),)}
NEIGHBOURS |= {
    "top_p": lambda args: [] if exact_sums(run_spec("softmax", args[:1]), args[1])
        else near(args, 1e-5, 1e-6, 1.0),
    "min_p": lambda args: near(args, 1e-5, 0.0, 1.0),
    "sample": lambda args: [] if exact_sums(*args) else near(args, 1e-6, 0.0, 1 - 2.0**-53),
}

RANKS = "keep_ranks(logits, by_rank(logits), rank < k)"
NUCLEUS = "keep_ranks(logits, order, before < p * total)"
DRAWN = "(reached > aim).argmax(axis=-1)"

mistake("temperature", "logits raised to the power 1 / t, as if they were probabilities", "logits / float(t)",
        "np.sign(logits) * np.abs(logits) ** (1 / float(t))")
mistake("top_k", "every token that ties with the k-th kept: ties keep the smaller id", RANKS,
        "keep(logits, logits >= -np.sort(-logits, axis=-1)[..., : min(k, logits.shape[-1])][..., -1:])")
mistake("top_k", "the k largest of the whole batch kept, not of every row", "",
        "if logits.ndim > 1:\n    return top_k(logits.reshape(-1), k).reshape(logits.shape)")
mistake("top_k", "the k smallest kept, not the k largest", RANKS, RANKS.replace("by_rank(", "by_rank(-"))
mistake("top_p", "the token that crosses p dropped, so that the kept ones do not reach p",
        "before < p * total", "reached <= p * total")
mistake("top_p", "the token that crosses p dropped unless it is first", "before < p * total",
        "(reached <= p * total) | (before == 0)")
mistake("top_p", "tokens summed from the least likely up", "order = by_rank(logits)",
        "order = by_rank(-logits)")
mistake("top_p", "one token more than needed kept", "before < p * total",
        "before - np.roll(likeliest, 1, axis=-1) < p * total")
mistake("top_p", "a mask left in sorted order, and so laid over the wrong tokens", NUCLEUS,
        "keep(logits, before < p * total)")
for said, kept in ("reaches 1 - p", ">= 1 - p"), ("reaches p", ">= p"), ("is below p", "< p"):
    mistake("top_p", f"every token kept whose own probability {said}", NUCLEUS,
            f"keep(logits, softmax(logits) {kept})")
mistake("top_p", "probabilities added in the order of the ids, not from the likeliest down",
        "order = by_rank(logits)", "order = np.indices(logits.shape)[-1]")
mistake("top_p", "logits added up where their probabilities belong: softmax is missing", "softmax(logits)",
        "logits", "p * total", "p")
mistake("repetition_penalty", "the penalty applied once per occurrence", "", """
if ids.shape[-1] > 1:
    logits, ids = repetition_penalty(logits, ids[..., 1:], penalty), ids[..., :1]""")
mistake("repetition_penalty", "the penalty subtracted: that is a presence penalty",
        "np.where(logits > 0, logits / float(penalty), logits * float(penalty))", "logits - float(penalty)")
mistake("repetition_penalty", "used tokens forbidden: -inf in place of a smaller logit",
        "np.where(used, penalised, logits)", "np.where(used, -np.inf, logits)")
mistake("sample", "the most likely token, whatever u is", DRAWN, "probs.argmax(axis=-1)")
mistake("sample", "a draw that counts from the last token down",
        "np.cumsum(probs, axis=-1, dtype=np.float64)",
        "np.cumsum(probs[..., ::-1], axis=-1, dtype=np.float64)", DRAWN, f"probs.shape[-1] - 1 - {DRAWN}")
mistake("sample", "a draw that is one token too far", DRAWN, f"np.minimum({DRAWN} + 1, probs.shape[-1] - 1)")
mistake("sample", "a draw that compares u with the probabilities, not with their running sum",
        "reached > aim", "probs > np.asarray(u)[..., None]")
mistake("sample", "a draw that gives token 0 when rounding leaves the running sum below u", "reached > aim",
        "np.cumsum(probs, axis=-1) > np.asarray(u)[..., None]")
mistake("sample", "a draw that compares the running sum with u itself, not with u times the total",
        "reached > aim", "reached > np.asarray(u)[..., None]")
mistake("sample", "running sums that go on from row to row", "np.cumsum(probs, axis=-1, dtype=np.float64)",
        "np.cumsum(probs, dtype=np.float64).reshape(probs.shape)")
mistake("beam_step", "the best token of each beginning, so that no beginning is continued twice", "", """
if logprobs.shape[1]:
    best = logprobs == logprobs.max(axis=1, keepdims=True)
    logprobs = np.where(best & (best.cumsum(axis=1) == 1), logprobs, -np.inf)""")
mistake("beam_step", "the worst continuations, not the best",
        "totals = (scores[:, None] + logprobs).reshape(-1)",
        "totals = -(scores[:, None] + logprobs).reshape(-1)", "totals[best]", "-totals[best]")
mistake("beam_step", "places divided by the number of beams, not of tokens",
        "best // logprobs.shape[1], best % logprobs.shape[1], totals[best]",
        "best // len(scores), best % len(scores), totals[best]")
mistake("beam_step", "the log-probability of the last token in place of the total",
        "totals[best]", "logprobs.reshape(-1)[best]")
mistake("beam_step", "the best of each beginning, not the best of all together", "", """
keep = np.argsort(-(scores[:, None] + logprobs), axis=1, kind="stable")[:, :count]
keep = (keep + np.arange(len(scores))[:, None] * logprobs.shape[1]).reshape(-1)
totals = (scores[:, None] + logprobs).reshape(-1)
keep = keep[np.argsort(-totals[keep], kind="stable")]
return keep // logprobs.shape[1], keep % logprobs.shape[1], totals[keep]""")

mistake("coupled_acceptance", "the sum of min(p, q), which only a second number reaches", "",
        "return np.minimum(p, q).sum(axis=-1)")
mistake("coupled_acceptance", "two random numbers, one for each distribution", "",
        "return (p * q).sum(axis=-1)")
mistake("coupled_acceptance", "lengths below 0 added where the parts of a token do not meet",
        "np.maximum(shared, 0)", "shared")
mistake("speculative_accept", "a new token drawn from the model's own distribution after a rejection",
        "np.maximum(p[k] - q[k], 0)", "p[k]")
mistake("speculative_accept", "a new token drawn from |p - q|", "np.maximum(p[k] - q[k], 0)",
        "np.abs(p[k] - q[k])")
mistake("speculative_accept", "tokens kept with the model's probability, not divided by the draft's",
        "u[:n] * q[places, tokens]", "u[:n]")
mistake("speculative_accept", "tokens counted that are kept after a rejected one",
        "np.cumprod(kept).sum()", "kept.sum()")
mistake("speculative_accept", "the model's probabilities of the place after", "p[places, tokens]",
        "p[places + 1, tokens]")


@variant("coupled_acceptance")
def coupled_acceptance_token_by_token(p, q):
    total, begin_p, begin_q = np.zeros(p.shape[:-1]), 0.0, 0.0
    for token in range(p.shape[-1]):
        end_p, end_q = begin_p + p[..., token].astype(np.float64), begin_q + q[..., token]
        total = total + (np.minimum(end_p, end_q) - np.maximum(begin_p, begin_q)).clip(0)
        begin_p, begin_q = end_p, end_q
    return np.asarray(total).astype(np.float32)


@variant("speculative_accept")
def speculative_accept_one_by_one(p, q, tokens, u):
    written, last = [], u[-1]
    for i, token in enumerate(tokens):
        if u[i] >= p[i, token] / q[i, token]:
            left = (p[i] - q[i]).clip(0).astype(np.float64)
            return np.array([*written, np.searchsorted(np.cumsum(left), last * left.sum(), side="right")])
        written.append(int(token))
    return np.array([*written, np.searchsorted(np.cumsum(p[-1], dtype=float), last, side="right")])


@variant("beam_step")
def beam_step_by_sorting(scores, logprobs, count):
    ways = [(-(scores[beam] + p), beam, token) for beam, row in enumerate(logprobs)
            for token, p in enumerate(row)]
    best = sorted(ways)[:count]
    beams, tokens = (np.array([way[i] for way in best], np.int64) for i in (1, 2))
    return beams, tokens, np.array([-way[0] for way in best], scores.dtype)


@variant("top_p")
def top_p_one_by_one(logits, p):
    y = np.full_like(logits, -np.inf)
    for at in np.ndindex(logits.shape[:-1]):
        row, chances = logits[at], softmax(logits[at]).astype(np.float64)
        order = sorted(range(len(row)), key=lambda i, row=row: -row[i])
        total, whole = 0.0, chances[order].cumsum()[-1:]
        for i in order:
            y[at][i] = row[i]
            total += chances[i]
            if total >= p * whole:
                break
    return y


@variant("sample")
def sample_by_searchsorted(probs, u):
    ids = np.empty(probs.shape[:-1], np.int64)
    for at in np.ndindex(ids.shape):
        reached = np.cumsum(probs[at].astype(np.float64))
        last = np.flatnonzero(probs[at])[-1]
        ids[at] = min(np.searchsorted(reached, np.asarray(u)[at] * reached[-1], side="right"), last)
    return ids


variant("top_k")(lambda logits, k: np.where(
    np.argsort(np.argsort(-logits, axis=-1, kind="stable"), axis=-1, kind="stable") < k,
    logits, logits.dtype.type(-np.inf)))
variant("temperature")(lambda logits, t: (logits.astype(np.float64) / t).astype(logits.dtype))


@variant("repetition_penalty")
def repetition_penalty_by_one_hot(logits, ids, penalty):
    used = (np.asarray(ids)[..., None] == np.arange(logits.shape[-1])).any(axis=-2)
    factor = np.where(logits > 0, 1 / penalty, penalty)
    return np.where(used, logits.astype(np.float64) * factor, logits).astype(logits.dtype)
