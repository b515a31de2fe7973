"""Make batches for training: windows of a token stream, or rows of separate texts.

A batch depends only on seed and step, so a resumed run gets the same batches as an uninterrupted run.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.ops.loss import IGNORED
from tinyllm.padding import pad_right
from tinyllm.rng import GOLDEN, Random


@dataclass(frozen=True)
class Batch:
    """The arrays of one training step; all but the first two may be None.

    tokens (B, T): what the model reads; for an encoder-decoder (B, S); for pairs of answers (B, 2, T).
    targets (B, T): what the model should predict or write; a target of -100 does not count.
    weights (B, T): how much each target counts; or (B,): how much each example counts, as a whole.
    starts (B, T): the first position that each token may attend to (the start of its text).
    ends (B, T): one more than the last position that each token may attend to.
    lengths (B,): how many tokens of each row an encoder reads; the rest is padding.
    pictures (B, side, side, 3): a picture for each row.

    Subclasses may add arrays whose first axis is B.
    """

    tokens: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None
    lengths: np.ndarray | None = None
    pictures: np.ndarray | None = None

    @property
    def count(self) -> float:
        """Return the divisor of a mean loss: the number of targets that count, or their weights' sum."""
        counted = self.targets != IGNORED
        if self.weights is None:
            return int(counted.sum())
        return float((self.weights if self.weights.ndim == 1 else self.weights[counted]).sum())

    def split(self, parts: int) -> "Iterator[Batch]":
        """Split the rows into at most `parts` parts of nearly equal size, and yield each part as a batch."""
        edges = [len(self.tokens) * i // parts for i in range(parts + 1)]
        for start, end in itertools.pairwise(edges):
            if start < end:
                yield self.rows(slice(start, end))

    def rows(self, which: slice | np.ndarray) -> "Batch":
        """Return a batch with the selected rows only."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        chosen = {name: x[which] for name, x in arrays.items() if isinstance(x, np.ndarray)}
        return dataclasses.replace(self, **chosen)


def get_batch(tokens: np.ndarray, seed: int, step: int, batch: int, context: int,
              even: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Draw random windows: tokens (n,) -> x, y int32 (B, T); y is the token after each token of x.

    Every window is equally likely. Equal arguments draw equal windows. With `even`, the windows of all steps
    are spread evenly over the text: each begins a golden section of it after the one before. Independent
    windows, as many as the text is long, miss a third of it. Raises UserError if no window fits.
    """
    windows = _check(tokens, batch, context)
    if even:
        places = np.arange(step * batch, (step + 1) * batch, dtype=np.uint64) * np.uint64(GOLDEN)
        places += np.uint64(Random(seed, "batch").bits())  # a part of the text, as a multiple of 2**-64
        starts = (places >> np.uint64(32)) * np.uint64(windows) >> np.uint64(32)
    else:
        starts = Random(seed, "batch", step).integers(windows, batch)
    return _windows(tokens, starts, context)


def eval_windows(tokens: np.ndarray, context: int, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Take windows that are spread evenly over the text, the same at every call: x, y int32 (n, T).

    There are `limit` of them, or as many as fit without overlap, so no target occurs twice. Raises UserError
    if there are too few tokens for one window.
    """
    _check(tokens, limit, context)
    fit = (len(tokens) - 1) // context
    n = min(limit, fit)
    return _windows(tokens, np.arange(n) * fit // n * context, context)


def _check(tokens, batch, context):
    """Return the number of possible starts of a window. Raises UserError if there are none."""
    if batch < 1 or context < 1:
        raise UserError(f"batch and context must be at least 1, got batch {batch} and context {context}")
    if len(tokens) <= context:
        raise UserError(f"the text has {len(tokens)} tokens, and a context of {context} needs at least "
                        f"{context + 1}: take more text or a smaller context")
    return len(tokens) - context


def _windows(tokens, starts, context):
    """Take context + 1 tokens at each start -> x, all but the last token, and y, all but the first."""
    window = np.array([tokens[i : i + context + 1] for i in starts.tolist()], np.int32)  # (B, T + 1)
    return np.ascontiguousarray(window[:, :-1]), np.ascontiguousarray(window[:, 1:])


def rows(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], context: int,
         packed: bool = False, told: Sequence[Sequence[Sequence[int]]] = ()) -> Batch:
    """Make a batch from pairs of a prompt and an answer, both lists of tokens -> Batch (B, T), T <= context.

    A row is a prompt and its answer, cut off on the right at context + 1 tokens, padded on the right. Targets
    count inside answers only. With `packed`, a row holds as many consecutive pairs as fit, so that there is
    less padding; `starts` hides earlier pairs of a row from later pairs. told: for each pair the parts
    [begin, end] of its answer that a model need not predict, such as results of tools; in order.
    """
    inputs: list[list[int]] = []
    begins: list[list[int]] = []  # for each token, the position at which its pair begins
    spans: list[tuple[int, int, int]] = []  # of each part that counts: its row, where it begins and ends
    for prompt, answer, skipped in zip(prompts, answers, told or [()] * len(answers), strict=True):
        tokens = [*prompt, *answer][: context + 1]
        if not (packed and inputs and len(inputs[-1]) + len(tokens) <= context + 1):
            inputs.append([])
            begins.append([])
        begins[-1] += [len(inputs[-1])] * len(tokens)
        begin, end = len(inputs[-1]) + len(prompt), len(inputs[-1]) + len(tokens)
        edges = [begin, *(min(begin + place, end) for part in skipped for place in part), end]
        spans += [(len(inputs) - 1, *part) for part in zip(edges[::2], edges[1::2], strict=True)]
        inputs[-1] += tokens
    x = pad_right(inputs, width=2).astype(np.int32)
    row, first, after = np.array(spans, np.int64).reshape(-1, 3).T
    of_pairs = ops.answer_targets(x[row], first, after)  # each is -100 outside its own answer
    y = np.maximum.reduceat(of_pairs, np.searchsorted(row, np.arange(len(x))))
    starts = np.maximum.accumulate(pad_right(begins, width=2)[:, :-1], axis=1) if packed else None
    return Batch(np.ascontiguousarray(x[:, :-1]), y, starts=starts)


def two_texts(prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], context: int) -> Batch:
    """Make a batch for an encoder-decoder, which reads prompts (B, S) and writes answers (B, T).

    Both are lists of tokens, cut off on the right at `context` tokens, and padded on the right.
    """
    read, written = ([row[:context] for row in rows] for rows in (prompts, answers))
    tokens, targets = pad_right(read).astype(np.int32), pad_right(written, IGNORED).astype(np.int32)
    return Batch(tokens, targets, lengths=np.array([len(row) for row in read]))
