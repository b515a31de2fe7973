"""Provide test cases, common mistakes and correct variants for returns and advantages."""

import numpy as np
from hypothesis import strategies as st

from tinyllm.rng import Random
from tinyllm.testing.arrays import BITS, CASES, USUAL, few, seeds, sizes
from tinyllm.testing.bounds import BOUNDS, EPS, TINY, bound, of_sizes
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.relations import bind, declared_cases, run_spec

discounts = st.sampled_from((0.5, 1.0, 0.99, 0.0))


@st.composite
def padded(draw, name, T=sizes, least=0, **settings):
    """Draw a case of an op on texts of `least` to T tokens; what is behind their ends may be NaN."""
    args = draw(declared_cases(name, {"B": few, "T": T}, **settings, lengths=lambda draw, n: (
        least + Random(draw(seeds), "lengths").integers(n["T"] + 1 - least, n["B"]))))
    lengths, nan = bind(name, args)["lengths"], np.float32(np.nan)
    return args if draw(st.booleans()) else tuple(
        np.ascontiguousarray(np.where(np.arange(x.shape[1])[:, None] < lengths, x.T, nan).T)
        if np.ndim(x) > 1 else x for x in args)


@bound("gae")
def gae_bound(args, results):
    """Bound the float32 errors of advantages and returns by the sums of their terms' absolute values."""
    rewards, values, lengths, gamma, lam = args
    size = np.nan_to_num(np.abs(values))
    terms = np.abs(rewards) + size + np.concatenate([gamma * size[:, 1:], 0 * size[:, :1]], axis=1)
    off = EPS * (6 + values.shape[1]) * run_spec("discounted_returns", (terms, lengths, gamma * lam)) + TINY
    return off, off + EPS * size


@bound("group_advantages")
def group_advantages_bound(args, results):
    """Bound the float32 error of advantages: the mean is rounded, and so is the deviation."""
    (rewards, divide, _), (y,) = args, results
    off = 2 * EPS * (6 + y.shape[1]) * np.abs(rewards).max(axis=1, keepdims=True, initial=0) + 0 * y
    if divide and y.shape[1] > 1:
        deviation = rewards.std(axis=1, ddof=1, keepdims=True)
        off = (off + np.abs(y) * (2 * off + EPS * (6 + y.shape[1]) * deviation)) / (deviation + 1e-4)
    return (off + TINY,)


CASES |= {"discounted_returns": padded("discounted_returns", gamma=discounts),
          "group_advantages": declared_cases("group_advantages", {"N": few}, rewards=(*USUAL, *BITS),
                                             divide=st.booleans(), leave_one_out=st.booleans()),
          "gae": padded("gae", gamma=discounts, lam=st.sampled_from((0.5, 0.95, 1.0, 0.0)))}
BOUNDS["discounted_returns"] = of_sizes("discounted_returns", lambda rewards, **_: 4 + rewards.shape[1])

GIVEN = "np.where(before_end(lengths, rewards.shape[1]), rewards, 0)"
LOOP = "reversed(range(rewards.shape[1] - 1))"
ADDED = "returns[:, t] += float(gamma) * returns[:, t + 1]"
FOLLOWING = "np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], axis=1)"
SHIFT = "rewards = rewards - rewards[:, :1]"
DEVIATION = "np.sqrt((centred * centred).sum(axis=1, keepdims=True) / max(K - 1, 1))"
LEFT_OUT = "centred * (K / max(K - 1, 1))"

mistake("discounted_returns", "the rewards behind the end of the text, too", GIVEN, "rewards")
mistake("discounted_returns", "a loop from the beginning, which adds only the next reward", LOOP,
        "range(rewards.shape[1] - 1)")
mistake("discounted_returns", "the rewards so far: a return adds up those that are still to come", LOOP,
        "range(1, rewards.shape[1])", ADDED, "returns[:, t] += float(gamma) * returns[:, t - 1]")
mistake("discounted_returns", "the first return everywhere, with rewards that came before the step",
        "return returns", "return returns[:, :1] * before_end(lengths, rewards.shape[1])")
mistake("discounted_returns", "returns without the reward of the step itself", "return returns",
        f"return returns - {GIVEN}")
mistake("discounted_returns", "discounts counted from the first step, not from step t", GIVEN,
        f"({GIVEN} * gamma ** np.arange(rewards.shape[1])).astype(rewards.dtype)", ADDED,
        "returns[:, t] += returns[:, t + 1]")
mistake("gae", "the last value again as the value after the end, where nothing is expected", FOLLOWING,
        "np.concatenate([values[:, 1:], values[:, -1:]], axis=1)")
mistake("gae", "the value before each step, where the value after it belongs", FOLLOWING,
        "np.concatenate([np.zeros_like(values[:, :1]), values[:, :-1]], axis=1)")
mistake("gae", "gamma multiplied with the value of step t, not of step t + 1",
        "rewards + float(gamma) * following - values", "rewards + following - float(gamma) * values")
mistake("gae", "returns that add up rewards, where advantages + values belong", "advantages + values",
        "discounted_returns(rewards, lengths, gamma)")
mistake("gae", "advantages minus their mean, which is for the caller to take away",
        "return advantages, advantages + values",
        "return advantages - advantages.sum() / max(advantages.size, 1), advantages + values")
mistake("group_advantages", "the mean of the whole batch as the baseline, not of each group", SHIFT, "",
        "rewards.sum(axis=1, keepdims=True) / max(K, 1)", "rewards.sum() / max(rewards.size, 1)")
mistake("group_advantages", "the standard deviation of the whole batch, not of each group", DEVIATION,
        "np.sqrt((centred * centred).sum() / max(centred.size - 1, 1))")
mistake("group_advantages", "rewards divided by their deviation, without a baseline", SHIFT, "",
        "centred / (deviation + 1e-4)", "rewards / (deviation + 1e-4)")
mistake("group_advantages", "the sum of the other rewards divided by K, not by K - 1", SHIFT, "", LEFT_OUT,
        "rewards - (rewards.sum(axis=1, keepdims=True) - rewards) / max(K, 1)")


@variant("gae")
def gae_row_by_row(rewards, values, lengths, gamma, lam):
    advantages, returns = np.zeros_like(rewards), np.zeros_like(rewards)
    for b, n in enumerate(lengths.tolist()):
        last = later = 0.0
        for t in reversed(range(n)):
            last = float(rewards[b, t]) + gamma * later - float(values[b, t]) + gamma * lam * last
            later = float(values[b, t])
            advantages[b, t], returns[b, t] = last, last + later
    return advantages, returns


@variant("group_advantages")
def group_advantages_by_mean_and_std(rewards, divide=True, leave_one_out=False):
    wide, K = rewards.astype(np.float64), rewards.shape[1]
    if K < 2:
        return np.zeros_like(rewards)
    total = wide.sum(axis=1, keepdims=True)
    centred = wide - ((total - wide) / (K - 1) if leave_one_out else total / K)
    deviation = np.std(wide, axis=1, ddof=1, keepdims=True)
    return (centred / (deviation + 1e-4) if divide else centred).astype(rewards.dtype)
