"""Hide parts of texts: make batches whose targets are what the model does not see.

Random numbers come from a key such as (seed, step).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.data.batches import Batch
from tinyllm.ops.loss import IGNORED
from tinyllm.rng import Random


def masked(tokens: np.ndarray, mask: int, vocab_size: int, *key: Any, rate: float = 0.15) -> Batch:
    """Hide random tokens to train a masked language model like BERT: tokens (B, T) -> a `Batch`.

    Each token is chosen with probability `rate`. Of the chosen tokens, 80 % become `mask`, 10 % become a
    random token, and 10 % stay. Only chosen tokens count in the loss; their targets are the original tokens.
    `key` selects the random numbers. (Devlin et al., BERT, 2019, section 3.1.)
    """
    draws = Random(*key, "masked").uniform(tokens.shape)
    how = Random(*key, "how").uniform(tokens.shape)
    other = Random(*key, "other").integers(vocab_size, tokens.shape)
    seen, targets = ops.mask_tokens(tokens, draws, how, other, mask, rate)
    return Batch(seen.astype(np.int32), targets.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class DiffusedBatch(Batch):
    """A batch for masked diffusion: in each row, a random share t of the tokens is hidden.

    Each token that may be hidden has the weight 1 / t, for the t of its row; any other token has 0.
    """

    @property
    def count(self) -> float:
        """Return the divisor of the loss: the number of all tokens that could have been hidden."""
        return int(np.count_nonzero(np.asarray(self.weights)))


def diffused(tokens: np.ndarray, mask: int, *key: Any) -> DiffusedBatch:
    """Hide a random share of each text: tokens (B, T) -> a batch for `diffusion`.

    Each row has a share t, the probability with which its tokens become `mask`. One t is drawn from each of B
    equal parts of (0, 1], so that every batch has easy and hard texts. `key` selects the random numbers.
    (Sahoo et al., "Simple and Effective Masked Diffusion Language Models", 2024, section 3, with the linear
    schedule, and appendix C for the equal parts.)
    """
    shares = 1 - (Random(*key, "share").uniform() + np.arange(len(tokens))) / len(tokens)
    gone = Random(*key, "hidden").uniform(tokens.shape) < shares[:, None]
    weights = np.broadcast_to(1 / shares[:, None], tokens.shape).astype(np.float32)
    seen, targets = np.where(gone, mask, tokens), np.where(gone, tokens, IGNORED)
    return DiffusedBatch(seen.astype(np.int32), targets.astype(np.int32), weights)


def span_corruption(tokens: np.ndarray, sentinels: Sequence[int], *key: Any, end: Sequence[int] = (),
                    rate: float = 0.15, mean: float = 3.0) -> Batch:
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
