"""Train on pairs of answers with DPO: make the chosen answer likelier than the rejected one."""

import math
from dataclasses import dataclass
from functools import partial

from tinyllm.align.losses import preference_loss
from tinyllm.align.pairs import plan_of_pairs
from tinyllm.align.questions import with_end
from tinyllm.config import setting
from tinyllm.ops.preference import KINDS
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe

FALLING = "the chosen answers become less likely, too: a larger dpo.beta, or a smaller train.lr"
LEARNT = "the pairs of the training data are told apart by now: stop, or give more pairs"


@dataclass(frozen=True)
class DPOConfig:
    """The settings of DPO and IPO."""

    beta: float = setting(0.1, help="how strongly the model is held to its start", above=0)
    loss: str = setting("sigmoid", help="sigmoid: DPO; ipo: aims at a margin", choices=KINDS)


@recipe("dpo", "prefer the chosen of two answers", DPOConfig, unit="nats per pair", frame=with_end,
        defaults={"train.optimizer": "adamw", "train.lr": 1e-4, "train.weight_decay": 0.0})
def dpo(parts: Parts) -> Plan:
    """Return a plan that learns from pairs of answers, without a reward model."""
    options, reference = parts.config.options, parts.reference()
    healthy = {"rewards/accuracies": (0.0, 0.99, LEARNT), "rewards/margins": (0.0, math.inf, FALLING),
               "val_rewards/chosen": (-1.0, math.inf, FALLING)}
    loss = partial(preference_loss, reference=reference, beta=options.beta, kind=options.loss)
    return plan_of_pairs(parts, loss, healthy=healthy)
