"""Pretrain an encoder: guess hidden tokens of a text (BERT), or write whole texts (masked diffusion)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinyllm.data import Batch
from tinyllm.data.corruption import diffused, masked
from tinyllm.decode.fill import fill, write
from tinyllm.ops.loss import IGNORED
from tinyllm.runs.plan import Plan, plan_of_windows
from tinyllm.runs.recipe import Parts, recipe
from tinyllm.train import objectives


@recipe("denoise", "guess hidden tokens of a text", objectives=("masked",))
def denoise(parts: Parts) -> Plan:
    """Return a plan that hides some tokens of random windows between [CLS] and [SEP]."""

    def sample(model, tokens, mask):
        hidden = [mask if i % 7 == 3 else token for i, token in enumerate(tokens)]
        return fill(model, parts.tokenizer, hidden)[0]

    def hide(x, mask, *key):
        return masked(x, mask, parts.model.config.vocab_size, *key)

    return plan_of_hiding(parts, hide, objectives.masked_token, sample)


@recipe("diffusion", "hide any share of a text, to write whole texts", objectives=("masked",))
def diffusion(parts: Parts) -> Plan:
    """Return a plan that hides from one to all tokens of random windows between [CLS] and [SEP]."""

    def sample(model, tokens, mask):
        return write(model, parts.tokenizer, parts.tokenizer.decode(tokens[:9]), len(tokens))[0]

    return plan_of_hiding(parts, diffused, objectives.diffusion, sample)


def plan_of_hiding(parts: Parts, hide: Callable, loss: Callable, sample: Callable) -> Plan:
    """Return a plan that trains on windows in which `hide(x, mask, *key)` has hidden tokens.

    sample(model, tokens, mask): returns a text to show. mask: the id of a hidden token.
    """
    names, ids = parts.model.special_tokens, parts.tokenizer.special_tokens
    begin, end, mask = (ids[names[role]] for role in ("begin", "end", "mask"))
    return plan_of_windows(
        parts, parts.model.config.context - 2,
        lambda x, y, *key: framed(hide(x, mask, *key), begin, end), loss,
        sample=lambda model, tokens: sample(model, tokens, mask), healthy={"val_accuracy": (0.0, 1.0, "")})


def framed(batch: Batch, begin: int, end: int) -> Batch:
    """Put a token before and a token after each row of a batch. Neither counts in the loss."""

    def pad(x, first, last):
        return x if x is None else np.pad(x, ((0, 0), (1, 1)), constant_values=((0, 0), (first, last)))

    tokens, targets = pad(batch.tokens, begin, end), pad(batch.targets, IGNORED, IGNORED)
    return replace(batch, tokens=tokens, targets=targets, weights=pad(batch.weights, 0, 0))
