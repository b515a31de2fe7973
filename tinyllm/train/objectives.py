"""Objectives: losses, and functions that make batches for them.

A loss is a function `loss(model, batch) -> Tensor`, or `(Tensor, {name: number})`; see `train`. Most
objectives are the same loss on other batches: they differ in the tokens that the model sees, and in the
targets that count. Random numbers come from a key such as (seed, step).
"""

import dataclasses
from typing import Any

import numpy as np

from tinyllm.data import Batch
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


def next_token(model: Any, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of the targets that count, in nats; the loss of all objectives below."""
    given = {name: x for name in ("weights", "starts") if (x := getattr(batch, name)) is not None}
    return model.loss(batch.tokens, batch.targets, **given)


def masked(tokens: np.ndarray, mask: int, vocab_size: int, *key: Any, rate: float = 0.15) -> Batch:
    """Hide random tokens, as BERT's masked language model does: tokens (B, T) -> a `Batch`.

    Each token is chosen with probability `rate`. Of the chosen ones, 80 % become `mask`, 10 % a random token,
    10 % stay. Only they count in the loss; their targets are the original tokens. `key` selects the random
    numbers. (Devlin et al., BERT, 2019, section 3.1.)
    """
    chosen = Random(*key, "masked").uniform(tokens.shape) < rate
    how = Random(*key, "how").uniform(tokens.shape)
    other = Random(*key, "other").integers(vocab_size, tokens.shape)
    hidden = np.where(how < 0.8, mask, np.where(how < 0.9, other, tokens))
    targets = np.where(chosen, tokens, IGNORED)
    return Batch(np.where(chosen, hidden, tokens).astype(np.int32), targets.astype(np.int32))


def prefix(batch: Batch, lengths: np.ndarray) -> Batch:
    """Ignore the targets inside a prefix of each row, of lengths (B,) tokens; return the new batch."""
    behind = np.arange(batch.targets.shape[1]) >= np.asarray(lengths)[:, None] - 1
    return dataclasses.replace(batch, targets=np.where(behind, batch.targets, IGNORED))


def fill_in_the_middle(document: np.ndarray, markers: tuple[int, int, int], *key: Any) -> np.ndarray:
    """Move a random middle part of a document to its end: tokens (n,) -> (n + 3,).

    `markers` are the ids that open prefix, suffix and middle. A model trained on this can fill gaps.
    (Bavarian et al., "Efficient Training of Language Models to Fill in the Middle", 2022, section 3: PSM.)
    """
    begin, end = sorted(Random(*key, "middle").integers(len(document) + 1, 2))
    opening, between, ending = markers
    parts = ([opening], document[:begin], [between], document[end:], [ending], document[begin:end])
    return np.concatenate(parts).astype(np.int32)
