"""Train with GRPO: draw several answers to each prompt, and make the better ones likelier."""

from dataclasses import dataclass
from functools import partial

from tinyllm.align.advantages import by_group, weighted
from tinyllm.align.losses import policy_loss
from tinyllm.align.policy import ON_POLICY, PolicyConfig, plan_of_answers
from tinyllm.align.rollout import Rollout
from tinyllm.config import setting
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe


@dataclass(frozen=True)
class GRPOConfig(PolicyConfig):
    """The settings of GRPO and of its variants RLOO and Dr. GRPO."""

    group: int = setting(8, help="answers to each prompt", min=2)
    beta: float = setting(0.0, help="penalty on the KL divergence from the start, in the loss", min=0)
    aggregation: str = setting("token", help="what weighs alike; constant: as token, by max_tokens",
                               choices=("sequence", "token", "constant"))
    divide: bool = setting(True, help="divide by the standard deviation of a group's rewards")
    leave_one_out: bool = setting(False, help="compare with the mean of the other answers only")


@recipe("grpo", "earn rewards, by comparing answers to a prompt", GRPOConfig, **ON_POLICY)
def grpo(parts: Parts) -> Plan:
    """Return a plan that draws a group of answers to each prompt; no value model is needed.

    (Shao et al., "DeepSeekMath", 2024, section 4; Ahmadian et al., "Back to basics", 2024, for leave_one_out;
    Liu et al., "Dr. GRPO", 2025, for divide=false with aggregation=constant.)
    """
    options = parts.config.options

    def learn(rollout: Rollout) -> Rollout:
        rollout = weighted(rollout, options.aggregation, options.max_tokens)
        return by_group(rollout, options.group, options.divide, options.leave_one_out)

    loss = partial(policy_loss, clip=options.clip, beta=options.beta)
    return plan_of_answers(parts, options.group, learn, loss)
