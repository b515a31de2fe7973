"""Say how much better than expected the tokens of drawn answers were: `learn(rollout)` adds advantages."""

import dataclasses
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.align.rollout import Rollout, back, frozen, left
from tinyllm.ops.loss import IGNORED


def weighted(rollout: Rollout, aggregation: str, most: int) -> Rollout:
    """Add the weights of targets and rows; see `ops.answer_weights` for an aggregation and `most`."""
    targets = rollout.targets
    lengths = (targets != IGNORED).sum(axis=1)
    shares, counts = ops.answer_weights(lengths, targets.shape[1], aggregation, most)
    return dataclasses.replace(rollout, shares=back(shares, targets), weights=counts)


def by_group(rollout: Rollout, group: int, divide: bool, leave_one_out: bool) -> Rollout:
    """Compare the reward of each answer with those of the `group` answers to its prompt (GRPO, RLOO)."""
    grouped = rollout.rewards.reshape(-1, group)
    each = ops.group_advantages(grouped, divide, leave_one_out).reshape(-1, 1)
    found = np.where(rollout.targets != IGNORED, each, 0).astype(np.float32)
    contrast = np.repeat((grouped != grouped[:, :1]).any(axis=1), group).astype(np.float32)
    return dataclasses.replace(rollout, advantages=found, contrast=contrast)


def by_value(rollout: Rollout, value: Any, *, price: float, unfinished: float, gamma: float, lam: float,
             whiten: bool) -> Rollout:
    """Compare what each token leads to with what a value model expected before it (GAE).

    The reward comes with the last token of an answer, and the price of leaving the start, per nat of KL
    divergence, with every token. An answer that does not end loses `unfinished`. Without a value model, the
    mean of all returns is expected. `whiten` shifts and scales the advantages to mean 0 and variance 1.
    """
    targets = rollout.targets
    lengths = (targets != IGNORED).sum(axis=1)
    rewards = left(np.float32(price) * (rollout.reference - rollout.old), targets)
    rewards[np.arange(len(rewards)), lengths - 1] += rollout.rewards - unfinished * (1 - rollout.ended)
    values = left(frozen(value, rollout, "scores"), targets) if value else np.zeros_like(rewards)
    advantages, returns = ops.gae(rewards, values, lengths, gamma, lam if value else 1.0)
    real = np.arange(rewards.shape[1]) < lengths[:, None]
    if whiten or not value:
        advantages = advantages - advantages[real].mean()
    if whiten:
        advantages = advantages / (advantages[real].std() + np.float32(1e-8))
    found = {"advantages": np.where(real, advantages, 0), "values": values, "returns": returns}
    placed = {name: back(x.astype(np.float32), targets) for name, x in found.items()}
    return dataclasses.replace(rollout, **placed)
