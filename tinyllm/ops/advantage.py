"""Turn rewards into advantages: numbers that say how much better a step, or an answer, was than expected.

Rewards (B, T) are those of B texts that are padded on the right; text b has lengths[b] tokens. Nothing is
read behind the end of a text, and no reward is expected there.
"""

import numpy as np

from tinyllm.ops.registry import op
from tinyllm.ops.shapes import Array


def before_end(lengths: Array, T: int, least: int = 0) -> Array:
    """Return True for the first lengths[b] of T positions: lengths (B,), from `least` to T -> (B, T)."""
    if np.any((lengths < least) | (lengths > T)):
        raise ValueError(f"needs lengths from {least} to {T}, got {lengths.tolist()}")
    return np.arange(T) < lengths[:, None]


@op(outputs=("returns",), grads=(), shapes="rewards (B, T), lengths (B)")
def discounted_returns(rewards: Array, lengths: Array, gamma: float) -> Array:
    """Add up the rewards that are still to come: return[t] = reward[t] + gamma return[t + 1].

    rewards (B, T), lengths (B,) ints from 0 to T -> (B, T); 0 from position lengths[b] on. Rewards there are
    never used, even if they are NaN. Raises ValueError on other lengths. (Sutton and Barto 2018, eq. 3.9.)
    """
    returns = np.where(before_end(lengths, rewards.shape[1]), rewards, 0)
    for t in reversed(range(rewards.shape[1] - 1)):
        returns[:, t] += float(gamma) * returns[:, t + 1]
    return returns


@op(outputs=("advantages", "returns"), grads=(), shapes="rewards (B, T), values (B, T), lengths (B)")
def gae(rewards: Array, values: Array, lengths: Array, gamma: float, lam: float) -> tuple[Array, Array]:
    """Estimate the advantage of every step from rewards and from values, which are expected returns.

        delta[t] = reward[t] + gamma value[t + 1] - value[t]
        advantage[t] = delta[t] + gamma lam advantage[t + 1]

    rewards (B, T), values (B, T), lengths (B,) ints from 0 to T -> advantages (B, T), returns (B, T), which
    are advantages + values. The value after the end is 0. Both results are 0 from position lengths[b] on, and
    no input there is used. Raises ValueError on other lengths. (Schulman et al., "GAE", 2016, equation 16.)
    """
    values = np.where(before_end(lengths, rewards.shape[1]), values, 0)
    following = np.concatenate([values[:, 1:], np.zeros_like(values[:, :1])], axis=1)
    delta = rewards + float(gamma) * following - values
    advantages = discounted_returns(delta, lengths, float(gamma) * float(lam))
    return advantages, advantages + values


@op(outputs=("advantages",), grads=(), shapes="rewards (N, K)")
def group_advantages(rewards: Array, divide: bool = True, leave_one_out: bool = False) -> Array:
    """Return how much better each of K answers to a prompt is than the mean of its group.

    rewards (N, K) -> (N, K): reward - mean of the group or, with leave_one_out, of the K - 1 other answers,
    which is K / (K - 1) times as much. With `divide`, divided by s + 1e-4, where s is the group's standard
    deviation, sqrt(sum of (reward - mean)^2 / (K - 1)). Groups of equal rewards, or of one answer, get
    exactly 0. (Shao et al., "DeepSeekMath", 2024, section 4.1; Ahmadian et al., "RLOO", 2024.)
    """
    K = rewards.shape[1]
    rewards = rewards - rewards[:, :1]  # exactly 0 if all are equal; the mean may be rounded
    centred = rewards - rewards.sum(axis=1, keepdims=True) / max(K, 1)
    deviation = np.sqrt((centred * centred).sum(axis=1, keepdims=True) / max(K - 1, 1))
    if leave_one_out:
        centred = centred * (K / max(K - 1, 1))
    return centred / (deviation + 1e-4) if divide else centred
