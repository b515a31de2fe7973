"""Distil a model: train a small one to predict what a larger one, its teacher, predicts."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm.config import setting
from tinyllm.data import Batch, rows
from tinyllm.decode.generate import generate
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.runs import Opened, Parts, Plan, find_recipe
from tinyllm.runs.recipe import Frame, recipe
from tinyllm.runs.run import frame_of
from tinyllm.runs.start import open_start


@dataclass(frozen=True)
class DistillConfig:
    """The settings of distillation."""

    teacher: str | None = setting(None, help="a run or a Hugging Face folder to learn from")
    temperature: float = setting(1.0, help="above 1, the teacher's unlikely tokens count more", above=0)
    text: float = setting(0.0, help="weight of the text's own tokens; the rest: the teacher", min=0, max=1)
    own: float = setting(0.0, help="share of batches that the model writes itself", min=0, max=1)
    of: str = setting("pretrain", help="whose batches, and validation", choices=("pretrain", "sft"))


class Written(Batch):
    """Texts that the model has continued itself."""


def frame(config: Any, inherited: Frame) -> Frame:
    """Return the teacher's frame; if it has none, that of the recipe `distill.of`."""
    of, found = find_recipe(config.options.of), frame_of(config.options.teacher or "")
    return of.frame(replace(config, options=of.options and of.options()), inherited) if (
        of.frame and not any(found)) else found


@recipe("distill", "predict what a larger model predicts", DistillConfig, frame=frame)
def distill(parts: Parts) -> Plan:
    """Return a plan that learns a teacher's probabilities (Hinton 2015), also of own texts (Agarwal 2024)."""
    config, options, model = parts.config, parts.config.options, parts.model
    if not parts.teacher:
        raise UserError("distill needs a teacher: --set distill.teacher=RUN")
    teacher, tokenizer = open_start(parts.teacher)
    if tokenizer.fingerprint() != parts.tokenizer.fingerprint():
        raise UserError(f"{options.teacher} has other tokens: give its tokenizer.json as --tokenizer")
    if teacher.config.context < model.config.context:
        raise UserError(f"the teacher reads {teacher.config.context} tokens: set no larger model.context")
    T, of, V = options.temperature, find_recipe(options.of), tokenizer.vocab_size
    own = replace(config, recipe=of.name, options=of.options and of.options())
    plan = of.build(replace(parts, config=own))

    def batches(step: int) -> Batch:
        batch, random = plan.batches(step), Random(config.seed, "own", step)
        if not random.happens(options.own):
            return batch
        counts, first = (batch.targets != IGNORED).sum(axis=1), (batch.targets != IGNORED).argmax(axis=1)
        begun = [row[:end].tolist() for row, end in zip(batch.tokens, first + 1 + counts // 4, strict=True)]
        written = generate(model, begun, max_tokens=int((counts - counts // 4).max()), overflow="stop",
                           tokenizer=tokenizer, seed=random.integers(2**31),
                           stop=Opened(model, tokenizer, parts.frame).stops)
        return Written(**vars(rows(begun, written, model.config.context)))

    def loss(model: Any, batch: Any) -> Any:
        counted = np.flatnonzero(batch.targets != IGNORED)

        def predict(network):
            logits = network(batch.tokens)
            return F.embedding(logits.reshape(-1, logits.shape[-1]), counted)[:, :V]

        with inference(teacher):
            log_p = F.log_softmax(predict(teacher) / T).data
        logits, weight = predict(model), 0.0 if isinstance(batch, Written) else options.text
        kl = T**2 * ((log_p - F.log_softmax(logits / T)) * np.exp(log_p)).sum(axis=-1).mean()
        text = F.cross_entropy(logits, batch.targets.flat[counted])
        return (1 - weight) * kl + weight * text, {"kl": kl.item()}

    ratio = {"size_to_teacher": model.num_parameters() / teacher.num_parameters()}
    return replace(plan, batches=batches, loss=loss, known=plan.known | ratio, healthy=plan.healthy | {
        "size_to_teacher": (0.0, 1.0, "the model is larger than its teacher")})
