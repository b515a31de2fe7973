"""Define training objectives: functions `loss(model, batch)`.

They return a Tensor or (Tensor, {name: number}); see `train`. Many trainings use the same loss on different
batches, which differ in the tokens that the model sees and in the targets that count: see data/corruption.py.
"""

from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.data import Batch
from tinyllm.data.corruption import DiffusedBatch
from tinyllm.nn.attention import Seen
from tinyllm.ops.loss import IGNORED
from tinyllm.tensor import Tensor


def next_token(model: Any, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of the targets that count, in nats.

    A model without the method `loss` is called on tokens and must return logits.
    """
    if not hasattr(model, "loss"):
        return F.cross_entropy(model(batch.tokens), batch.targets)
    inputs = given(batch, "weights", "pictures")
    if limits := given(batch, "starts", "ends", "lengths"):
        inputs["seen"] = Seen(**limits)
    return model.loss(batch.tokens, batch.targets, **inputs)


def given(batch: Batch, *names: str) -> dict[str, Any]:
    """Return the arrays of a batch that have these names and are not None."""
    return {name: x for name in names if (x := getattr(batch, name)) is not None}


def masked_token(model: Any, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Return the mean cross-entropy of hidden tokens in nats, and the accuracy, for masked language models.

    The batch may have lengths (B,); tokens after a row's length are padding.
    """
    return guess(*counted(model, batch))


def counted(model: Any, batch: Batch) -> tuple[Tensor, np.ndarray]:
    """Return the logits (n, V) and the targets (n,) of the n targets of a batch that count."""
    x = model.hidden(batch.tokens, seen=Seen(lengths=batch.lengths))
    places = np.flatnonzero(batch.targets != IGNORED)
    return model.head(F.embedding(x.reshape(-1, x.shape[-1]), places)), batch.targets.flat[places]


def text_class(model: Any, batch: Any) -> tuple[Tensor, dict[str, float]]:
    """Return the mean cross-entropy in nats of classifying texts, and the accuracy.

    `batch` has tokens and segments (B, T), lengths (B,), and the indices of the classes as targets (B, 1).
    """
    logits = model.classify(batch.tokens, batch.segments, Seen(lengths=batch.lengths))
    return guess(logits, batch.targets[:, 0])


def guess(logits: Tensor, targets: np.ndarray) -> tuple[Tensor, dict[str, float]]:
    """Return mean cross-entropy and accuracy: logits (N, V), targets (N,) -> (), {"accuracy": ...}."""
    return F.cross_entropy(logits, targets), accuracy(logits.data, targets)


def accuracy(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return the share of rows whose target has the largest logit: (N, V), (N,) -> {"accuracy": ...}."""
    right = logits.argmax(axis=-1) == targets
    return {"accuracy": float(right.mean()) if right.size else 0.0}


def same_meaning(model: Any, batch: Any, temperature: float = 0.05) -> tuple[Tensor, dict[str, float]]:
    """Return the contrastive loss of text vectors: each text must be nearest to its partner in the batch.

    Rows 2i and 2i + 1 of a batch are partners, such as two views of a sentence; tokens (2N, T), lengths
    (2N,). The logits are a text's similarities with all N candidates, divided by `temperature`; the target is
    the partner (InfoNCE with the other texts of the batch as negatives). (Reimers and Gurevych,
    "Sentence-BERT", 2019; Gao et al., "SimCSE", 2021, section 2.)
    """
    vectors = model.sentence_vectors(batch.tokens, batch.lengths)
    a, b = vectors[0::2], vectors[1::2]
    right = accuracy(ops.matmul(a.data, b.data, transpose_b=True), np.arange(len(a)))
    return F.apply(ops.contrastive_loss, a, b, temperature), right


def diffusion(model: Any, batch: DiffusedBatch) -> tuple[Tensor, dict[str, float]]:
    """Return an upper bound of the mean negative log-likelihood of tokens in nats, and the accuracy.

    The cross-entropy of a hidden token is weighted by 1 / t, where t is the hidden share of its row: if few
    tokens are hidden, each of them counts more. The mean over t is the bound. (Sahoo et al., equation 10;
    Nie et al., LLaDA, 2025, equation 3.)
    """
    logits, targets = counted(model, batch)
    weights = batch.weights[batch.targets != IGNORED]  # type: ignore[index]
    loss = (F.token_losses(logits, targets) * weights).sum() / float(batch.count)
    right = weights[logits.data.argmax(axis=-1) == targets]  # each counts as in the loss
    return loss, {"accuracy": float(right.sum()) / batch.count}
