"""Pretrain an encoder as BERT: guess hidden tokens of a text."""

from dataclasses import dataclass, replace

import numpy as np

from tinyllm.config import setting
from tinyllm.data import Batch
from tinyllm.data.corruption import masked
from tinyllm.decode.fill import fill
from tinyllm.ops.loss import IGNORED
from tinyllm.runs.plan import Plan, plan_of_windows
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.train.objectives import masked_token


@dataclass(frozen=True)
class DenoiseConfig:
    """The settings of hiding tokens."""

    hidden: float = setting(0.15, help="the share of tokens to guess", above=0, below=1)


@recipe("denoise", "guess hidden tokens of a text", DenoiseConfig, objectives=("masked",))
def denoise(parts: Parts) -> Plan:
    """Return a plan that hides some tokens of random windows between [CLS] and [SEP]."""
    model, tokenizer, options = parts.model, parts.tokenizer, parts.config.options
    begin, end, mask = special_ids(parts)

    def layout(x, y, *key):
        return framed(masked(x, mask, model.config.vocab_size, *key, rate=options.hidden), begin, end)

    def sample(model, tokens):
        return fill(model, tokenizer, [mask if i % 7 == 3 else token for i, token in enumerate(tokens)])[0]

    plan = plan_of_windows(parts, model.config.context - 2, layout, masked_token, sample=sample)
    plan.healthy = {"val_accuracy": (0.0, 1.0, "")}
    return plan


def special_ids(parts: Parts) -> list[int]:
    """Return the ids of an encoder's tokens for the beginning, the end, and a hidden token."""
    names = parts.model.special_tokens
    return [parts.tokenizer.special_tokens[names[role]] for role in ("begin", "end", "mask")]


def framed(batch: Batch, begin: int, end: int) -> Batch:
    """Put a token before and a token after each row of a batch. Neither counts in the loss."""

    def pad(x, first, last):
        return x if x is None else np.pad(x, ((0, 0), (1, 1)), constant_values=((0, 0), (first, last)))

    tokens, targets = pad(batch.tokens, begin, end), pad(batch.targets, IGNORED, IGNORED)
    return replace(batch, tokens=tokens, targets=targets, weights=pad(batch.weights, 0, 0))
