"""Train a model by a constitution: learn its own revisions, then what the rules prefer."""

from dataclasses import dataclass

from tinyllm.align.constitution import Author, Phases, judge
from tinyllm.align.losses import preference_loss
from tinyllm.align.policy import LEARNING
from tinyllm.align.questions import read_questions, with_end
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.runs.plan import Plan
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.train.objectives import next_token


@dataclass(frozen=True)
class ConstitutionalConfig:
    """The settings of training by a constitution."""

    revisions: int = setting(100, help="how many steps learn revisions, before others prefer", min=0)
    max_tokens: int = setting(60, help="the largest number of tokens of an answer", min=1)
    beta: float = setting(0.1, help="DPO: how strongly the model is held to its start", above=0)


@recipe("constitutional", "keep the rules of a constitution", ConstitutionalConfig,
        unit="broken rules per answer", frame=with_end, defaults=LEARNING | {"train.batch": 16})
def constitutional(parts: Parts) -> Plan:
    """Return a plan that first learns answers that the start revised, then prefers those that keep the rules.

    (Bai et al., "Constitutional AI", 2022; DPO takes the place of a reward model and PPO.)
    """
    config, options = parts.config, parts.config.options
    if not config.data.startswith("world:constitution"):
        raise UserError(f"{parts.corpus.name} has no rules to keep: give --data world:constitution")
    questions = read_questions(parts)
    learnt, held_out = ([each.prompt for each in part] for part in questions[:2])
    start, own = (Author(model, parts.tokenizer, parts.frame, options.max_tokens)
                  for model in (parts.reference(), parts.model))
    batches = Phases(start, own, learnt, options.revisions, config.train.batch, config.seed)

    def loss(model, batch):
        if batch.tokens.ndim == 2:
            return next_token(model.eval(), batch)
        return preference_loss(model, batch, batches.reference, options.beta)

    def measure(model):
        return judge(parts, own, held_out[: config.train.eval_windows], config.seed)

    healthy = {"violations": (0.0, 1.0, ""), "helpful": (0.5, 1.0, "rules are kept by saying nothing"),
               "learnable": (0.1, 1.0, "most answers get no revision, or break as many rules as another")}
    return Plan(batches, loss, measure, *questions.tokens, own.ids(held_out[0]), healthy, batches.report)
