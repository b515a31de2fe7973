"""Define the losses of post-training: `loss(model, batch, ...)` returns a Tensor and numbers to log.

All run the model without dropout: the probabilities of a draw, or of a reference, had none either.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.align.pairs import ANSWERS, flat, mean
from tinyllm.align.rollout import Rollout
from tinyllm.data import Batch
from tinyllm.errors import UserError
from tinyllm.nn import Module
from tinyllm.ops import OPS
from tinyllm.tensor import Tensor, no_grad

Result = tuple[Tensor, dict[str, float]]


def policy_loss(model: Any, batch: Rollout, clip: float, beta: float = 0.0) -> Result:
    """Return the clipped policy-gradient loss of drawn answers, and numbers that show how far a step went.

    clip: how far a ratio of probabilities may be from 1, or 0 for no limit. `beta` adds a penalty on the
    estimate k3 of the KL divergence from the start. (Schulman et al., "PPO", 2017, equation 7; Shao et al.,
    "GRPO", 2024, equation 3.) Raises UserError if the model has not changed since it drew the answers, and
    their log-probabilities have: every ratio would be wrong.
    """
    limit, running = clip or np.inf, {x.backend for x in OPS.values() if "compiled" in x.implementations}
    tolerance = 0.0 if running == {"compiled"} else 1e-3  # others may round a row differently in a batch
    new = model.eval().log_probs(batch.tokens, batch.targets)
    far = new.data - batch.old
    if batch.fresh.all() and (worst := float(np.abs(far).max())) > tolerance:
        raise UserError(f"a log-probability differs by {worst:.2g} between drawing and training: the ratio "
                        "of both must begin at 1; please report this")
    losses = F.clipped_loss(new, batch.old, batch.advantages, limit, limit)
    _, clipped = ops.clipped_loss(new.data, batch.old, batch.advantages, limit, limit)
    numbers = {"policy/approxkl_avg": far * far / 2, "policy/clipfrac_avg": clipped, "val/ratio": np.exp(far)}
    if beta:
        losses = losses + F.kl_estimate(new, batch.reference) * beta
    total = batch.shares.sum()  # `count` may be larger: "constant" counts max_tokens for every answer
    return mean(batch, losses), {k: float((x * batch.shares).sum() / total) for k, x in numbers.items()}


class WithValue(Module):
    """Add the loss of a value model, times `weight`, to the loss of a policy; both models are trained.

    value: a model with `scores`. Its estimates may move by `clip` from those at the time of drawing, or
    freely if `clip` is 0.
    """

    def __init__(self, policy: Callable, value: Any, weight: float, clip: float):
        self.policy, self.value, self.weight, self.limit = policy, value, weight, clip or np.inf

    def forward(self, model: Any, batch: Rollout) -> Result:
        loss, numbers = self.policy(model, batch)
        expected = self.value.eval().scores(batch.tokens)
        losses = F.value_loss(expected, batch.values, batch.returns, self.limit)
        more = mean(batch, losses)
        numbers |= {"loss/policy_avg": loss.item(), "loss/value_avg": more.item()}
        return loss + more * self.weight, numbers


def preference_loss(model: Any, batch: Batch, reference: Any, beta: float, kind: str = "sigmoid") -> Result:
    """Return the loss of pairs of answers, and TRL's numbers.

    kind: "sigmoid" or "ipo", see `ops.dpo_loss`. A reward is beta times the log of an answer's probability,
    divided by its probability under the reference.
    """
    inputs = flat(batch)
    with no_grad():
        before = reference.log_probs(*inputs).data.sum(axis=-1).reshape(-1, 2)
    now = model.eval().log_probs(*inputs).sum(axis=-1).reshape(-1, 2)
    losses = F.dpo_loss(now[:, 0], now[:, 1], before[:, 0], before[:, 1], beta, kind)
    rewards = beta * (now.data - before)
    margins = rewards[:, 0] - rewards[:, 1]
    numbers = {"rewards/margins": margins, "rewards/accuracies": margins > 0}
    for i, name in enumerate(ANSWERS):
        numbers |= {f"rewards/{name}": rewards[:, i], f"logps/{name}": now.data[:, i]}
    return mean(batch, losses), {name: mean(batch, x) for name, x in numbers.items()}
