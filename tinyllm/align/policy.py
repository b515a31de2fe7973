"""Make the plan of an on-policy recipe: draw answers, reward them, learn from them, and measure."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyllm.align.questions import Question, read_questions, with_end
from tinyllm.align.reward import open_judge, score_texts
from tinyllm.align.rollout import Drawn, Rollout, Rollouts, draw, frozen, lay_out
from tinyllm.config import setting
from tinyllm.errors import UserError
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.runs import Opened, Plan

HEALTHY = {  # the numbers of the line `doctor`
    "objective/scores": (-math.inf, math.inf, ""),
    "true_reward": (-math.inf, math.inf, ""),
    "objective/kl": (-0.5, 20.0, "the model leaves its start: a smaller train.lr, or more kl"),
    "completions/clipped_ratio": (
        0.0, 0.1, "answers are cut off before their end: more max_tokens, or a start that has learnt to end"),
    "frac_reward_zero_std": (0.0, 0.9, "all answers to a prompt earn the same, which teaches nothing: "
                                       "other questions, or a better start"),
}
LEARNING = {"train.optimizer": "adamw", "train.lr": 3e-4, "train.batch": 64, "train.weight_decay": 0.0}
ON_POLICY = {"unit": "points (minus the mean reward)", "defaults": LEARNING, "frame": with_end}


@dataclass(frozen=True)
class PolicyConfig:
    """The settings that all on-policy recipes share."""

    max_tokens: int = setting(32, help="the largest number of tokens of an answer", min=1)
    reward: str | None = setting(None, help="a run of the recipe reward; none: the checker of the data")
    unfinished: float = setting(1.0, help="what an answer loses that max_tokens cut off", min=0)
    epochs: int = setting(1, help="how often a step sees each answer before others are drawn", min=1)
    clip: float = setting(0.2, help="how far a ratio of probabilities may be from 1; 0: any", min=0, below=1)


def plan_of_answers(parts: Any, group: int, learn: Callable[[Rollout], Rollout], loss: Callable) -> Plan:
    """Return a plan that draws `group` answers to each prompt, rewards them, and learns from them.

    learn(rollout) adds what the loss needs, such as advantages. Validation draws an answer to each of the
    held-out prompts, always with the same random numbers; its loss is minus the mean reward. Raises UserError
    for what cannot be learnt from.
    """
    config, options, model = parts.config, parts.config.options, parts.model
    train, opened = config.train, Opened(model, parts.tokenizer, with_end(config, parts.frame))
    if model.picture_marks and parts.corpus.shown:
        raise UserError(f"{config.recipe} shows no pictures, and {parts.corpus.name} asks about some")
    if train.batch % group:
        raise UserError(f"train.batch {train.batch} is no multiple of {group} answers to a prompt")
    questions, reference = read_questions(parts), parts.reference()
    learnt, held_out, encoded = questions.learnt, questions.held_out, questions.ids
    judge = open_judge(parts.reward) if parts.reward else None
    if not (judge or all(each.check for each in learnt + held_out)):
        raise UserError(f"{parts.corpus.name} has no checker of answers: name a reward model, "
                        f"--set {config.recipe}.reward=RUN, from `tinyllm train reward`")
    longest = max(map(len, encoded.values()))
    for reader in (model, judge.model) if judge else (model,):
        if longest + options.max_tokens > (context := reader.config.context):
            raise UserError(f"a prompt has {longest} tokens, and with max_tokens={options.max_tokens} it "
                            f"exceeds the context of {context}: set a smaller {config.recipe}.max_tokens")

    def answer(asked: Sequence[Question], seed: int) -> Rollout:
        drawn = draw(opened, [encoded[each.prompt] for each in asked], options.max_tokens, opened.stops, seed)
        rollout = lay_out(drawn, model.config.context)
        found = rewards(asked, drawn, judge, options.unfinished)
        return dataclasses.replace(rollout, reference=frozen(reference, rollout), **found)

    def collect(phase: int) -> Rollout:
        chosen = Random(config.seed, "questions", phase).integers(len(learnt), train.batch // group)
        asked = [learnt[i] for i in chosen for _ in range(group)]
        return learn(answer(asked, Random(config.seed, "answers", phase).integers(2**31)))

    def measure(model: Any) -> dict[str, Any]:
        numbers = report(answer(held_out[: train.eval_windows], config.seed))
        own = {"val_loss": -numbers["objective/scores"], "val_loss_per_char": None}
        return own | {f"val_{name}": x for name, x in numbers.items()}

    unknown = {"true_reward": not learnt[0].truth, "frac_reward_zero_std": group == 1}
    healthy = {name: line for name, line in HEALTHY.items() if not unknown.get(name)}
    draws = Rollouts(collect, options.epochs)
    return Plan(draws, loss, measure, *questions.tokens, encoded[held_out[0].prompt], healthy, report)


def rewards(asked: Sequence[Question], drawn: Sequence[Drawn], judge: Opened | None,
            unfinished: float) -> dict[str, Any]:
    """Return arrays (B,): `rewards` and, if known, `truths`. Raises UserError if a reward is not finite.

    An answer that was cut off is scored as it stands, without an end, and loses `unfinished`.
    """
    texts, ended = [each.text for each in drawn], [each.ended for each in drawn]

    def by(what: str) -> np.ndarray:
        return np.array([getattr(x, what)(text) for x, text in zip(asked, texts, strict=True)], np.float32)

    seen = score_texts(judge, [each.prompt for each in asked], texts, ended) if judge else by("check")
    if not np.isfinite(seen).all():
        worst = texts[np.isfinite(seen).argmin()]
        raise UserError(f"the reward of the answer {worst[:60]!r} is not a finite number")
    seen = seen - np.float32(unfinished) * ~np.array(ended)
    return {"rewards": seen} | ({"truths": by("truth")} if asked[0].truth else {})


def report(batch: Rollout) -> dict[str, float]:
    """Return what the answers of a batch show, with the names that TRL gives these numbers."""
    rows = {"objective/scores": batch.rewards, "true_reward": batch.truths,
            "completions/mean_length": (batch.targets != IGNORED).sum(axis=1),
            "completions/clipped_ratio": 1 - batch.ended,
            "frac_reward_zero_std": None if batch.contrast is None else 1 - batch.contrast,
            "objective/kl": (batch.old - batch.reference).sum(axis=1),
            "objective/entropy": -batch.old.sum(axis=1)}
    return {name: float(x.mean(dtype=np.float64)) for name, x in rows.items() if x is not None}
