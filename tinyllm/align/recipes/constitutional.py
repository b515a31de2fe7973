"""Train a model by a constitution: learn its own revisions, then what the rules prefer."""

from dataclasses import dataclass

from tinyllm.align.constitution import Author, judge, preferred_batch, revised_batch
from tinyllm.align.losses import preference_loss
from tinyllm.align.policy import LEARNING
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.rng import Random
from tinyllm.runs.examples import hold_out
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.train.objectives import next_token


@dataclass(frozen=True)
class ConstitutionalConfig:
    """The settings of training by a constitution."""

    revisions: float = setting(0.5, help="share of the steps that learn revisions", min=0, max=1)
    max_tokens: int = setting(60, help="the largest number of tokens of an answer", min=1)
    beta: float = setting(0.1, help="DPO: how strongly the model is held to its start", above=0)


@recipe("constitutional", "keep the rules of a constitution", ConstitutionalConfig,
        unit="broken rules per answer", defaults=LEARNING | {"train.batch": 16})
def constitutional(parts: Parts) -> Plan:
    """Return a plan that first learns answers that the start revised, then prefers those that keep the rules.

    (Bai et al., "Constitutional AI", 2022; DPO takes the place of a reward model and PPO.)
    """
    config, options, reference = parts.config, parts.config.options, parts.reference()
    if not config.data.startswith("world:constitution"):
        raise UserError(f"{parts.corpus.name} has no rules to keep: give --data world:constitution")
    asked = [document.labels["question"] for document in parts.corpus.documents]
    learnt, held_out = hold_out(asked, config.train.val_fraction, parts.corpus.name)
    start, own = (Author(model, parts.tokenizer, parts.frame, options.max_tokens)
                  for model in (reference, parts.model))

    def batches(step):
        random = Random(config.seed, "constitution", step)
        questions = [learnt[i] for i in random.integers(len(learnt), config.train.batch)]
        seed = random.integers(2**31)
        learns = step < options.revisions * config.train.steps
        batch = None if learns else preferred_batch(own, questions, seed)
        return batch or revised_batch(start, questions, seed)

    def loss(model, batch):
        if batch.tokens.ndim == 2:
            return next_token(model.eval(), batch)
        return preference_loss(model, reference, batch, options.beta)[0]

    def measure(model):
        return judge(parts, own, held_out[: config.train.eval_windows], config.seed)

    tokens, known = (sum(len(own.ids(question)) for question in part) for part in (learnt, held_out))
    healthy = {"violations": (0.0, 1.0, ""), "helpful": (0.5, 1.0, "rules are kept by saying nothing")}
    return Plan(batches, loss, measure, tokens, known, own.ids(held_out[0]), healthy,
                lambda batch: {"preferences": float(batch.tokens.ndim == 3)})
