"""Make batches of pairs: a prompt with a chosen and a rejected answer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm.data import Batch, rows
from tinyllm.ops.loss import IGNORED
from tinyllm.runs.examples import hold_out, plan_of, read_records
from tinyllm.runs.plan import Plan
from tinyllm.tensor import Tensor

ANSWERS = "chosen", "rejected"


def read_pairs(parts: Any) -> tuple[list, list]:
    """Return pairs for training and for validation: ids of a prompt, and of both answers with their ends."""
    tokenizer, frame = parts.tokenizer, parts.frame
    pairs = [(frame.prompt(tokenizer, each["prompt"]), *(frame.answer(tokenizer, each[x]) for x in ANSWERS))
             for each in read_records(parts.corpus, "prompt", *ANSWERS)]
    return hold_out(pairs, parts, key=lambda pair: tuple(pair[0]))


def plan_of_pairs(parts: Any, loss: Callable, **more: Any) -> Plan:
    """Return a plan that learns from pairs; pairs that are equal after they were cut are dropped.

    loss(model, batch): gets tokens and targets (N, 2, T) of N pairs, the chosen answer first, and weights
    (N,). Targets count inside answers, their end included. more: other fields of the plan.
    """
    def layout(chosen):
        texts = [(prompt, answer) for prompt, *answers in chosen for answer in answers]
        return of_pairs(rows(*zip(*texts, strict=True), parts.model.config.context))

    return plan_of(parts, read_pairs(parts), layout, loss, **more)


def of_pairs(batch: Batch) -> Batch:
    """Make pairs of a batch's rows: (2N, T), chosen and rejected in turn -> (N, 2, T), weights (N,).

    A pair of equal rows, or one whose prompt alone fills the context, has the weight 0.
    """
    tokens, targets = (x.reshape(-1, 2, x.shape[-1]) for x in (batch.tokens, batch.targets))
    written = (targets != IGNORED).any(axis=-1).all(axis=-1)
    differ = (targets[:, 0] != targets[:, 1]).any(axis=-1)
    return Batch(tokens, targets, weights=differ & written)


def flat(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens and targets of a batch of N pairs as (2N, T), chosen and rejected in turn."""
    T = batch.tokens.shape[-1]
    return batch.tokens.reshape(-1, T), batch.targets.reshape(-1, T)


def mean(batch: Batch, x: Any) -> Any:
    """Return the mean of a number of each pair (N,), or drawn token (B, T): a float if x is an array."""
    total = (x * getattr(batch, "shares", batch.weights)).sum() / float(batch.count)
    return total if isinstance(x, Tensor) else float(total)
