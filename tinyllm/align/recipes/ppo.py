"""Train with PPO: learn from the rewards of drawn answers, a few careful steps at a time."""

from dataclasses import dataclass
from functools import partial

from tinyllm.align.advantages import by_value, weighted
from tinyllm.align.losses import WithValue, policy_loss
from tinyllm.align.policy import ON_POLICY, PolicyConfig, plan_of_answers
from tinyllm.align.rollout import Rollout
from tinyllm.config import setting
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, find_recipe, recipe
from tinyllm.runs.setup import adapted


@dataclass(frozen=True)
class PPOConfig(PolicyConfig):
    """The settings of PPO. With value=0, clip=0 and one epoch it is REINFORCE with a mean as baseline."""

    kl: float = setting(0.05, help="the price of leaving the start, per nat of KL divergence", min=0)
    kl_in: str = setting("reward", help="where this price is paid", choices=("reward", "loss"))
    value: float = setting(0.1, help="weight of the value model's loss; 0: no value model", min=0)
    gamma: float = setting(1.0, help="what a reward is worth one token earlier", above=0, max=1)
    lam: float = setting(0.95, help="GAE: 0 trusts the value model, 1 the rewards", min=0, max=1)
    whiten: bool = setting(True, help="scale the advantages to variance 1")


@recipe("ppo", "earn rewards of a reward model, near the start", PPOConfig, **ON_POLICY)
def ppo(parts: Parts) -> Plan:
    """Return a plan that draws an answer to each prompt, and judges every token by a value model.

    (Schulman et al., "PPO", 2017; Ouyang et al., "InstructGPT", 2022, section 3.5.)
    """
    config, options = parts.config, parts.config.options
    paid = {where: options.kl * (options.kl_in == where) for where in ("reward", "loss")}
    value = parts.reference().for_scores(config.seed) if options.value else None
    value = value and adapted(value, find_recipe("ppo"), config, parts.corpus, parts.start)
    given = {name: getattr(options, name) for name in ("gamma", "lam", "whiten")}

    def learn(rollout: Rollout) -> Rollout:
        return by_value(weighted(rollout, "token", options.max_tokens), value, price=paid["reward"], **given)

    loss = partial(policy_loss, clip=options.clip, beta=paid["loss"])
    both = WithValue(loss, value, options.value, options.clip) if value else loss
    return plan_of_answers(parts, 1, learn, both)
