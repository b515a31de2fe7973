"""Define training objectives: losses, and functions that make batches for them.

A loss is a function `loss(model, batch)` that returns a Tensor or (Tensor, {name: number}); see `train`. Most
objectives use the same loss on different batches: they differ in the tokens that the model sees, and in the
targets that count. Random numbers come from a key such as (seed, step).
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

import tinyllm.functional as F
from tinyllm import ops
from tinyllm.data import Batch, rows
from tinyllm.nn.seen import Seen
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random
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
    x = model.hidden(batch.tokens, seen=Seen(lengths=batch.lengths))
    counted = np.flatnonzero(batch.targets != IGNORED)
    logits = model.head(F.take(x.reshape(-1, x.shape[-1]), counted))
    return guess(logits, batch.targets.flat[counted])


def text_class(model: Any, batch: Any) -> tuple[Tensor, dict[str, float]]:
    """Return the mean cross-entropy in nats of classifying texts, and the accuracy.

    `batch` has tokens and segments (B, T), lengths (B,), and the numbers of the classes as targets (B, 1).
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
    loss, logits = F.contrastive_loss(vectors[0::2], vectors[1::2], temperature)
    return loss, accuracy(logits, np.arange(len(logits)))


def masked(tokens: np.ndarray, mask: int, vocab_size: int, *key: Any, rate: float = 0.15,
           begins: np.ndarray | None = None) -> Batch:  # fmt: skip
    """Hide random tokens to train a masked language model like BERT: tokens (B, T) -> a `Batch`.

    Each token is chosen with probability `rate`. Of the chosen tokens, 80 % become `mask`, 10 % become a
    random token, and 10 % stay. Only chosen tokens count in the loss; their targets are the original tokens.
    With `begins` (V,), True for tokens that begin a word, whole words are chosen. `key` selects the random
    numbers. (Devlin et al., BERT, 2019, section 3.1; whole words: the authors' code of May 2019.)
    """
    draws = Random(*key, "masked").uniform(tokens.shape)
    if begins is not None:  # all tokens of a word use the random number of its first token
        places = np.where(begins[tokens], np.arange(tokens.shape[1]), 0)
        draws = np.take_along_axis(draws, np.maximum.accumulate(places, axis=1), axis=1)
    how = Random(*key, "how").uniform(tokens.shape)
    other = Random(*key, "other").integers(vocab_size, tokens.shape)
    seen, targets = ops.mask_tokens(tokens, draws, how, other, mask, rate)
    return Batch(seen.astype(np.int32), targets.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class DiffusedBatch(Batch):
    """A batch for masked diffusion: in each row, a random share t of the tokens is hidden.

    Each token that may be hidden has the weight 1 / t, with the t of its row.
    """

    @property
    def count(self) -> float:
        """Return the divisor of the loss: the number of all tokens that could have been hidden."""
        return int(np.count_nonzero(np.asarray(self.weights)))


def diffused(tokens: np.ndarray, mask: int, *key: Any, shares: np.ndarray | None = None) -> DiffusedBatch:
    """Hide a random share of each text: tokens (B, T) -> a batch for `diffusion`.

    `shares` (B,) are the probabilities t with which the tokens of each row become `mask`. By default one t is
    drawn from each of B equal parts of (0, 1], so that every batch has easy and hard texts. `key` selects the
    random numbers. (Sahoo et al., "Simple and Effective Masked Diffusion Language Models", 2024, section 3,
    with the linear schedule, and appendix C for the equal parts.)
    """
    if shares is None:
        shares = 1 - (Random(*key, "share").uniform() + np.arange(len(tokens))) / len(tokens)
    gone = Random(*key, "hidden").uniform(tokens.shape) < shares[:, None]
    weights = np.broadcast_to(1 / shares[:, None], tokens.shape).astype(np.float32)
    seen, targets = np.where(gone, mask, tokens), np.where(gone, tokens, IGNORED)
    return DiffusedBatch(seen.astype(np.int32), targets.astype(np.int32), weights)


def diffusion(model: Any, batch: DiffusedBatch) -> tuple[Tensor, dict[str, float]]:
    """Return an upper bound of the mean negative log-likelihood of tokens in nats, and the accuracy.

    The cross-entropy of a hidden token is weighted by 1 / t, where t is the hidden share of its row: if few
    tokens are hidden, each of them counts more. The mean over all t is the bound. (Sahoo et al., equation 10;
    Nie et al., LLaDA, 2025, equation 3.)
    """
    x = model.hidden(batch.tokens)
    counted = np.flatnonzero(batch.targets != IGNORED)
    targets, weights = batch.targets.flat[counted], batch.weights.flat[counted]  # type: ignore[union-attr]
    logits = model.head(F.take(x.reshape(-1, x.shape[-1]), counted))
    loss = (F.token_losses(logits, targets) * weights).sum() / float(batch.count)
    return loss, accuracy(logits.data, targets)


def prefix(batch: Batch, lengths: np.ndarray, both_ways: bool = False) -> Batch:
    """Return a batch in which the first `lengths` (B,) tokens of each row do not count as targets.

    With `both_ways`, the tokens of this prefix see each other in both directions, as in a prefix language
    model (Raffel et al., T5, 2020, section 3.2.1).
    """
    place, lengths = np.arange(batch.targets.shape[1]), np.asarray(lengths)[:, None]
    targets = np.where(place >= lengths - 1, batch.targets, IGNORED)
    ends = np.maximum(place + 1, lengths) if both_ways else None
    return dataclasses.replace(batch, targets=targets, ends=ends)


def span_corruption(tokens: np.ndarray, sentinels: Sequence[int], *key: Any, end: Sequence[int] = (),
                    rate: float = 0.15, mean: float = 3.0) -> Batch:  # fmt: skip
    """Hide random spans of texts to train an encoder-decoder like T5: tokens (B, n) -> a `Batch`.

    A share `rate` of each text is hidden, in spans of `mean` tokens on average; a text ends with a span. The
    model reads the text with a sentinel token in place of each span: sentinels[0] for the first, and so on.
    It writes each sentinel followed by the hidden span, and one more sentinel at the end. Both texts end with
    `end`. All rows have equal lengths. `key` selects the random numbers. Raises ValueError when there are
    too few sentinels or tokens. (Raffel et al. 2020, section 3.1.4, figure 2.)
    """
    B, n = tokens.shape
    hidden = min(max(round(n * rate), 1), n - 1)
    count = min(max(round(hidden / mean), 1), n - hidden)
    if n < 2 or count >= len(sentinels):
        raise ValueError(f"{count} spans of {n} tokens need {count + 1} sentinels, got {len(sentinels)}")
    kept = _partitions(B, n - hidden, count, *key, "kept")
    gone = _partitions(B, hidden, count, *key, "hidden")
    marks = np.asarray(sentinels[: count + 1])
    rows = [ops.corrupt_spans(*row, marks) for row in zip(tokens, kept, gone, strict=True)]
    return Batch(*(np.array([[*row, *end] for row in part], np.int32) for part in zip(*rows, strict=True)))


def _partitions(rows: int, total: int, parts: int, *key: Any) -> np.ndarray:
    """Divide `total` into `parts` random numbers of at least 1, in each row; all ways equally likely."""
    cuts = np.argsort(Random(*key).uniform((rows, total - 1)), axis=1)[:, : parts - 1] + 1
    return np.diff(np.sort(cuts, axis=1), axis=1, prepend=0, append=total)


def fill_in_the_middle(text: str, encode: Callable[[str], Sequence[int]], markers: Sequence[int], *key: Any,
                       suffix_first: float = 0.5, lines: float = 0.0) -> list[int]:  # fmt: skip
    """Move a random middle part of a text to the end, and return token ids with four markers.

    A model that is trained on such texts can fill gaps. (Bavarian et al. 2022, section 3.)

    markers: the ids of four special tokens: P, S and M for prefix, suffix and middle, and E for the end.
    suffix_first: the probability of the order P S suffix M prefix middle E (SPM). Otherwise the order is
        P prefix S suffix M middle E (PSM).
    lines: the probability that the middle consists of whole lines.
    key: selects the random numbers.
    """
    random = Random(*key, "middle")
    draws, first = tuple(random.uniform(2).tolist()), random.uniform() < suffix_first
    parts = cut_lines(text, draws) if random.uniform() < lines else ops.split_middle(text, draws)
    return ops.move_middle(*(list(encode(part)) for part in parts), markers, first)


def cut_lines(text: str, draws: Sequence[float]) -> tuple[str, str, str]:
    """Cut a text at two random places between lines, and return (prefix, middle, suffix)."""
    ends = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    begin, end = sorted(ends[int(u * len(ends))] for u in draws)
    return text[:begin], text[begin:end], text[end:]


def middles(batch: Batch, tokenizer: Any, markers: Sequence[int], *key: Any, rate: float = 0.5,
            separator: str = "", room: int | None = None, **cuts: float) -> Batch:  # fmt: skip
    """Rearrange some rows of a batch (B, T) to train filling in the middle; return a batch (B, T).

    Each row is chosen with probability `rate`; other rows do not change. A chosen row is decoded, rearranged
    and encoded again. It first loses tokens at its beginning if it would not fit into `room` tokens (default
    T), because the markers need room. If a `separator` ends documents, the middle of each document in the row
    is moved to the end of this document. Longer rows are cut off, shorter rows are padded with targets of
    -100. `cuts` are more arguments of `fill_in_the_middle`. (Bavarian et al. 2022, appendix B: rearranging
    inside of a context never shows half of a rearranged document.)
    """
    draws, found = Random(*key, "rate").uniform(len(batch.tokens)), []
    room = room or batch.tokens.shape[1]
    for row, (tokens, targets) in enumerate(zip(batch.tokens, batch.targets, strict=True)):
        line = [int(tokens[0]), *targets[targets != IGNORED].tolist()]
        if draws[row] < rate:
            pieces = documents(tokenizer.decode(line, "ignore"), separator)
            over = max(0, len(line) + 2 * len(markers) * len(pieces) - (room + 1))
            pieces = documents(tokenizer.decode(line[over:], "ignore"), separator)
            moved = (fill_in_the_middle(piece, tokenizer.encode, markers, *key, row, i, **cuts)
                     for i, piece in enumerate(pieces))  # fmt: skip
            line = [*chain.from_iterable(moved)]
        found.append(line)
    return rows([line[:1] for line in found], [line[1:] for line in found], room)


def documents(text: str, separator: str) -> list[str]:
    """Cut a text into documents behind each separator; without a separator, the text is one document.

    A separator before a space does not end a document, because in code a blank line before an indented line
    is inside a function.
    """
    parts = re.split(rf"(?<={re.escape(separator)})(?=\S)", text) if separator else [text]
    return [part for part in parts if part] or [""]
