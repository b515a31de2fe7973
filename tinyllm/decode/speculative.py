"""Propose tokens that an engine then checks together, so that one pass of the model may write several.

The engine reads the proposed tokens in one pass, which costs little more than a pass for one token, as the
weights are read once (Leviathan, Kalman and Matias, "Fast inference from transformers via speculative
decoding", 2023). It draws each token from the model's own logits, with the random number that is the token's,
and keeps the next logits as long as the token is the proposed one. So the text is the same bytes as without
proposals, also when sampling, and only its speed depends on them.
"""

from copy import copy
from typing import Any

import numpy as np

from tinyllm.decode.choose import choose
from tinyllm.decode.prefix import in_common
from tinyllm.decode.sequence import Sequence
from tinyllm.decode.slots import Slots
from tinyllm.errors import UserError
from tinyllm.nn import inference
from tinyllm.padding import pad_right


class Lookup:
    """Propose what came next when the last tokens of the text stood in it before (Saxena 2023).

    tokens: how many are proposed at most. longest: how many last tokens are looked for first; then fewer.
    """

    def __init__(self, tokens: int = 4, longest: int = 3):
        self.tokens, self.longest = tokens, longest

    def check(self, model: Any) -> None:
        """Accept every model."""

    def propose(self, sequences: list[Sequence]) -> list[list[int]]:
        """Return tokens that may continue each sequence, or none."""
        return [self._find(s.window) for s in sequences]

    def _find(self, ids):
        ends = [at + 1 for at in range(len(ids) - 1) if ids[at] == ids[-1]]  # of what may be found
        for size in range(self.longest, 0, -1):
            for end in reversed(ends):
                if end >= size and ids[end - size : end] == ids[-size:]:
                    return ids[end : end + self.tokens]
        return []

    def release(self, count: int, leaving: list[int]) -> None:
        """Do nothing: a look-up keeps nothing."""


class DraftModel:
    """Propose what a smaller model of the same vocabulary would write, with the same random numbers."""

    def __init__(self, model: Any, tokens: int = 4):
        if model.is_encoder_decoder or model.silent:
            raise UserError(f"a {type(model).__name__} cannot propose tokens: take a decoder")
        self.model, self.tokens = model, tokens
        self.slots = Slots(model)
        self._modules = [m for _, m in model.named_modules()]
        self.read: list[list[int]] = []  # of each row, the ids in the draft model's cache

    def check(self, model: Any) -> None:
        """Raise UserError unless the model has the same vocabulary."""
        if (have := self.model.config.vocab_size) != (wanted := model.config.vocab_size):
            raise UserError(f"the draft model has {have} tokens and the model {wanted}: take one tokenizer")

    def propose(self, sequences: list[Sequence]) -> list[list[int]]:
        """Return tokens that may continue each sequence: of a full context, none."""
        longest = max(len(s.window) for s in sequences)
        drafts = [copy(s) for s in sequences]
        for draft, s in zip(drafts, sequences, strict=True):
            draft.ids = s.ids.copy()
        with inference(self.model, self._modules):
            for _ in range(min(self.tokens, self.model.config.context - longest)):
                tokens, _ = choose(drafts, self._logits([draft.window for draft in drafts]))
                for draft, token in zip(drafts, tokens.tolist(), strict=True):
                    draft.ids.append(token)
        return [draft.ids[len(s.ids) :] for draft, s in zip(drafts, sequences, strict=True)]

    def _logits(self, windows):
        """Read what is not in the cache yet -> logits (B, V) after each window."""
        self.slots.reserve(len(windows), max(map(len, windows)) + 1)
        self.read += [[] for _ in range(len(self.read), len(windows))]
        for row, window in enumerate(windows):
            known = in_common(self.read[row], window[:-1])
            # Of a text that goes on, one token is unread, or two if all proposals were right. Others are read
            # alone, as their padding could exceed the context.
            if len(window) - known > 2:
                self.slots.read(row, [known], np.array([window[known:-1]]))
                known = len(window) - 1
            self.read[row] = window[:known]
        unread = [window[len(read) :] for window, read in zip(windows, self.read, strict=False)]
        x = self.slots.read(0, [*map(len, self.read[: len(windows)])], pad_right(unread), whole=True)
        self.read[: len(windows)] = [*windows]
        return self.model.head(x[np.arange(len(unread)), [len(ids) - 1 for ids in unread]]).data

    def release(self, count: int, leaving: list[int]) -> None:
        """Free rows as the engine frees them."""
        self.slots.reserve(count, 0)
        self.read += [[] for _ in range(len(self.read), count)]
        self.read = [self.read[row] for row in self.slots.release(count, leaving)]
