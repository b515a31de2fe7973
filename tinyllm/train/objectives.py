"""Objectives: losses, and functions that make batches for them.

A loss is a function `loss(model, batch) -> Tensor`, or `(Tensor, {name: number})`; see `train`. Most
objectives are the same loss on other batches: they differ in the tokens that the model sees, and in the
targets that count. Random numbers come from a key such as (seed, step).
"""

import dataclasses
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm.data import Batch
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
from tinyllm.tensor import Tensor


def next_token(model: Any, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of the targets that count, in nats; the loss of all objectives below."""
    given = {name: x for name in ("weights", "starts") if (x := getattr(batch, name)) is not None}
    return model.loss(batch.tokens, batch.targets, **given)


def masked_token(model: Any, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Return the mean cross-entropy of the hidden tokens in nats, and the share whose guess is right."""
    x = model.hidden(batch.tokens)
    counted = np.flatnonzero(batch.targets != IGNORED)
    logits = model.head(F.take(x.reshape(-1, x.shape[-1]), counted))
    return guess(logits, batch.targets.flat[counted])


def text_class(model: Any, batch: Any) -> tuple[Tensor, dict[str, float]]:
    """Return the mean cross-entropy of the classes of texts in nats, and the share that is right.

    `batch` has tokens and segments (B, T), lengths (B,), and targets (B, 1), the number of each class.
    """
    logits = model.classify(batch.tokens, batch.segments, lengths=batch.lengths)
    return guess(logits, batch.targets[:, 0])


def guess(logits: Tensor, targets: np.ndarray) -> tuple[Tensor, dict[str, float]]:
    """Return cross-entropy and accuracy of guesses: logits (N, V), targets (N,) -> (), {"accuracy": ...}."""
    right = logits.data.argmax(axis=-1) == targets
    return F.cross_entropy(logits, targets), {"accuracy": float(right.mean()) if right.size else 0.0}


def same_meaning(model: Any, batch: Any, temperature: float = 0.05) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of finding each text's partner among all partners of a batch, by their vectors.

    Rows 2i and 2i + 1 of a batch are partners, such as two views of a sentence; tokens (2N, T), lengths
    (2N,). The similarities of a text with all N partners, divided by `temperature`, are the logits of the
    right one: InfoNCE with negatives from the batch. (Reimers and Gurevych, "Sentence-BERT", 2019;
    Gao et al., "SimCSE", 2021, section 2.)
    """
    vectors = model.sentence_vectors(batch.tokens, batch.lengths)
    likeness = F.matmul(vectors[0::2], vectors[1::2], transpose_b=True) * (1 / temperature)
    return guess(likeness, np.arange(likeness.shape[0]))


def masked(tokens: np.ndarray, mask: int, vocab_size: int, *key: Any, rate: float = 0.15,
           begins: np.ndarray | None = None) -> Batch:  # fmt: skip
    """Hide random tokens, as BERT's masked language model does: tokens (B, T) -> a `Batch`.

    Each token is chosen with probability `rate`. Of the chosen ones, 80 % become `mask`, 10 % a random token,
    10 % stay. Only they count in the loss; their targets are the original tokens. With `begins` (V,), True
    for tokens that begin a word, whole words are chosen, which is harder. `key` selects the random numbers.
    (Devlin et al., BERT, 2019, section 3.1; whole words: the authors' code of May 2019.)
    """
    draws = Random(*key, "masked").uniform(tokens.shape)
    if begins is not None:  # all tokens of a word have the draw of its first
        places = np.where(begins[tokens], np.arange(tokens.shape[1]), 0)
        draws = np.take_along_axis(draws, np.maximum.accumulate(places, axis=1), axis=1)
    chosen = draws < rate
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
