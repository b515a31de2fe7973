"""Mistakes in the sampling ops."""

import numpy as np

from tinyllm.ops import repetition_penalty, sample, softmax, temperature, top_k, top_p
from tinyllm.ops.sample import by_rank, keep, keep_ranks
from tinyllm.testing.mistake import mistake


@mistake("temperature", "logits multiplied by t, where a higher temperature must flatten")
def multiplies(logits, t):
    return logits * float(t)


@mistake("temperature", "probabilities where logits belong")
def gives_probabilities(logits, t):
    return softmax(temperature(logits, t))


@mistake("temperature", "logits divided by t^2")
def divides_twice(logits, t):
    return temperature(temperature(logits, t), t)


@mistake("top_k", "every token that ties with the k-th kept: ties keep the smaller id")
def keeps_ties(logits, k):
    kth = -np.sort(-logits, axis=-1)[..., : min(k, logits.shape[-1])][..., -1:]
    return keep(logits, logits >= kth)


@mistake("top_k", "the larger id kept of equal logits")
def keeps_the_larger_id(logits, k):
    return top_k(logits[..., ::-1], k)[..., ::-1].copy()


@mistake("top_k", "dropped tokens set to 0, which still get a share, where -inf belongs")
def drops_with_zero(logits, k):
    return np.where(top_k(logits, k) == -np.inf, logits.dtype.type(0), logits)


@mistake("top_k", "k + 1 tokens kept")
def keeps_one_more(logits, k):
    return top_k(logits, k + 1)


@mistake("top_k", "the k smallest logits kept")
def keeps_the_smallest(logits, k):
    return -top_k(-logits, k)


@mistake("top_k", "the k largest of the whole batch kept, not of every row")
def keeps_of_the_batch(logits, k):
    return top_k(logits.reshape(-1), k).reshape(logits.shape)


def by_probability(logits, kept):
    """Keep tokens by their probability in falling order and the running sum of those."""
    order = by_rank(logits)
    p = np.take_along_axis(softmax(logits), order, axis=-1)
    return keep_ranks(logits, order, kept(p, p.cumsum(axis=-1)))


@mistake("top_p", "the token that crosses p dropped, so that the kept ones do not reach p")
def drops_the_crossing_token(logits, p):
    return by_probability(logits, lambda q, reached: reached <= p)


@mistake("top_p", "one token more kept when the sum reaches p exactly")
def goes_past_an_exact_p(logits, p):
    return by_probability(logits, lambda q, reached: reached - q <= p)


@mistake("top_p", "one token more than needed kept")
def keeps_one_beyond(logits, p):
    return by_probability(logits, lambda q, reached: reached - q - np.roll(q, 1, axis=-1) < p)


@mistake("top_p", "tokens summed from the least likely up")
def sums_from_below(logits, p):
    order = by_rank(logits)[..., ::-1]
    reached = np.take_along_axis(softmax(logits), order, axis=-1).cumsum(axis=-1)
    return keep_ranks(logits, order, reached <= p)


@mistake("top_p", "a mask left in sorted order, and so laid over the wrong tokens")
def forgets_to_unsort(logits, p):
    return keep(logits, np.take_along_axis(top_p(logits, p), by_rank(logits), axis=-1) > -np.inf)


@mistake("top_p", "every token kept whose own probability reaches 1 - p")
def looks_at_each_alone(logits, p):
    return keep(logits, softmax(logits) >= 1 - p)


@mistake("top_p", "dropped tokens set to 0, which still get a share, where -inf belongs")
def top_p_drops_with_zero(logits, p):
    return np.where(top_p(logits, p) == -np.inf, logits.dtype.type(0), logits)


@mistake("min_p", "tokens kept whose probability reaches p itself, not p times the largest")
def absolute_threshold(logits, p):
    return keep(logits, softmax(logits) >= p)


@mistake("min_p", "logits, not probabilities, compared with p times the largest")
def compares_logits(logits, p):
    return keep(logits, logits >= p * logits.max(axis=-1, keepdims=True, initial=-np.inf))


@mistake("min_p", "p times the largest probability of the whole batch")
def largest_of_the_batch(logits, p):
    q = softmax(logits)
    return keep(logits, q >= p * q.max(initial=0))


@mistake("min_p", "tokens dropped that are exactly p times as likely, so that p = 1 drops all")
def drops_the_edge(logits, p):
    q = softmax(logits)
    return keep(logits, q > p * q.max(axis=-1, keepdims=True, initial=0))


def penalise(logits, ids, change):
    """Change the logits of used ids, each once."""
    used = np.zeros(logits.shape, bool)
    np.put_along_axis(used, ids, True, axis=-1)
    return np.where(used, change(logits), logits)


@mistake("repetition_penalty", "negative logits divided too, which makes a repeated token more likely")
def always_divides(logits, ids, penalty):
    return penalise(logits, ids, lambda x: x / float(penalty))


@mistake("repetition_penalty", "the penalty applied once per occurrence")
def once_per_occurrence(logits, ids, penalty):
    for i in range(ids.shape[-1]):
        logits = repetition_penalty(logits, ids[..., i : i + 1], penalty)
    return logits.copy()


@mistake("repetition_penalty", "the penalty subtracted: that is a presence penalty")
def subtracts(logits, ids, penalty):
    return penalise(logits, ids, lambda x: x - float(penalty))


@mistake("repetition_penalty", "positive logits multiplied and negative ones divided, the wrong way round")
def rewards(logits, ids, penalty):
    return repetition_penalty(logits, ids, 1 / penalty)


@mistake("repetition_penalty", "all tokens penalised, whether used or not")
def penalises_all(logits, ids, penalty):
    return np.where(logits > 0, logits / float(penalty), logits * float(penalty))


@mistake("sample", "a draw that takes the first token whose running sum reaches u: it must exceed u")
def reaches(probs, u):
    reached = np.cumsum(probs, axis=-1, dtype=np.float64)
    return np.asarray((reached >= np.asarray(u)[..., None]).argmax(axis=-1))


@mistake("sample", "the most likely token, whatever u is")
def takes_the_likeliest(probs, u):
    return np.asarray(probs.argmax(axis=-1))


@mistake("sample", "a draw in which all tokens are equally likely")
def draws_uniformly(probs, u):
    return np.asarray(np.floor(np.asarray(u) * probs.shape[-1]).astype(np.int64))


@mistake("sample", "a draw that counts from the last token down")
def counts_down(probs, u):
    return probs.shape[-1] - 1 - sample(probs[..., ::-1], u)


@mistake("sample", "a draw that is one token too far")
def one_too_far(probs, u):
    return np.minimum(sample(probs, u) + 1, probs.shape[-1] - 1)


@mistake("sample", "a draw that compares u with the probabilities, not with their running sum")
def forgets_to_sum(probs, u):
    return np.asarray((probs > np.asarray(u)[..., None]).argmax(axis=-1))


@mistake("sample", "a draw that gives token 0 when rounding leaves the running sum below u")
def falls_back_to_zero(probs, u):
    return np.asarray((np.cumsum(probs, axis=-1) > np.asarray(u)[..., None]).argmax(axis=-1))


@mistake("temperature", "logits minus t")
def takes_t_away(logits, t):
    return logits - float(t)


@mistake("temperature", "only the largest logit divided by t")
def only_the_largest(logits, t):
    top = logits == logits.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.where(top, temperature(logits, t), logits)


@mistake("temperature", "logits raised to the power 1 / t, as if they were probabilities")
def power(logits, t):
    return (np.sign(logits) * np.abs(logits) ** (1 / t)).astype(logits.dtype)


@mistake("temperature", "logits divided by 1 + t")
def one_more(logits, t):
    return temperature(logits, 1 + t)


@mistake("repetition_penalty", "used tokens forbidden: -inf in place of a smaller logit")
def forbids(logits, ids, penalty):
    return np.where(repetition_penalty(logits, ids, 2) != logits, -np.inf, logits)


@mistake("repetition_penalty", "the unused tokens penalised in place of the used")
def the_others(logits, ids, penalty):
    penalised = np.where(logits > 0, logits / float(penalty), logits * float(penalty))
    used = repetition_penalty(logits, ids, 2) != logits
    return np.where(used, logits, penalised)
