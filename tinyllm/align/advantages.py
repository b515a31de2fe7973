"""Say how much better than expected the tokens of drawn answers were: `learn(rollout)` adds advantages."""

import dataclasses
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.align.rollout import Rollout, frozen
from tinyllm.ops.loss import IGNORED


def weighted(rollout: Rollout, aggregation: str, most: int) -> Rollout:
    """Add the weights of targets and rows; see `ops.answer_weights` for an aggregation and `most`."""
    counted = rollout.targets != IGNORED
    weights, counts = ops.answer_weights(counted.sum(axis=1), counted.shape[1], aggregation, most)
    return dataclasses.replace(rollout, shares=weights[:, :1] * counted, weights=counts)


def by_group(rollout: Rollout, group: int, divide: bool, leave_one_out: bool) -> Rollout:
    """Compare the reward of each answer with those of the `group` answers to its prompt (GRPO, RLOO)."""
    grouped = rollout.rewards.reshape(-1, group)
    each = ops.group_advantages(grouped, divide, leave_one_out).reshape(-1, 1)
    found = np.where(rollout.targets != IGNORED, each, 0).astype(np.float32)
    contrast = np.repeat((grouped != grouped[:, :1]).any(axis=1), group).astype(np.float32)
    return dataclasses.replace(rollout, advantages=found, contrast=contrast)


def by_value(rollout: Rollout, value: Any, *, price: float, gamma: float, lam: float,
             whiten: bool) -> Rollout:
    """Compare what each token leads to with what a value model expected before it (GAE).

    The reward comes with the last token of an answer, and the price of leaving the start, per nat of KL
    divergence, with every token. Without a value model, the mean of all returns is expected. `whiten` shifts
    and scales the advantages to mean 0 and variance 1.
    """
    counted = rollout.targets != IGNORED
    ends = counted.shape[1] - counted[:, ::-1].argmax(axis=1)  # GAE goes from there to the left
    rewards = np.float32(price) * (rollout.reference - rollout.old)
    rewards[np.arange(len(rewards)), ends - 1] += rollout.rewards
    values = frozen(value, rollout, "scores") if value else np.zeros_like(rewards)
    advantages, returns = ops.gae(rewards, values, ends, gamma, lam if value else 1.0)
    if whiten or not value:
        advantages = advantages - advantages[counted].mean()
    if whiten:
        advantages = advantages / (advantages[counted].std() + np.float32(1e-8))
    found = {"advantages": advantages, "values": values, "returns": returns}
    return dataclasses.replace(rollout, **{k: np.where(counted, x, np.float32(0)) for k, x in found.items()})
