"""Keep a row of the KV cache for each text that is being continued.

The rows in use are 0, 1, ..., so that a pass over all of them uses the arrays themselves and copies nothing.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.nn.cache import Filled, KVCache
from tinyllm.tensor import Tensor

BLOCK = 64  # rows are lengthened to a multiple of this many positions, or to the context


class Slots:
    """Hold the rows of a model's KV cache. The caller keeps track of how many positions a row uses."""

    def __init__(self, model: Any):
        self.model = model
        self.cache: list[KVCache] = model.new_cache(0, 0)

    def reserve(self, rows: int, room: int) -> None:
        """Enlarge the cache to at least this many rows of at least this many positions."""
        have, width = self.cache[0].keys.shape[:2]
        if rows > have:  # grow by a quarter or more, so that rows are seldom copied
            have = max(rows, have * 5 // 4)
        if room > width:
            blocks = -(-max(room, width * 5 // 4) // BLOCK)
            width = min(blocks * BLOCK, self.model.config.context)
        for layer in self.cache:  # one by one: only one layer's old and new arrays exist at a time
            layer.reserve(have, width)

    def check(self, cache: list[KVCache]) -> None:
        """Raise UserError unless a caller's cache has one row, and is a cache of this model."""
        found = [(layer.kind, 1, *layer.keys.shape[2:]) for layer in self.cache]
        given = [(layer.kind, len(layer.lengths), *layer.keys.shape[2:]) for layer in cache]
        if found != given:
            raise UserError(f"a cache of {len(cache)} layers is not one row of this model's cache "
                            f"({len(found)} layers, numbers as it stores them): use model.new_cache()")

    def copy(self, cache: list[KVCache], rows: Sequence[int], targets: Sequence[int]) -> None:
        """Overwrite the rows `targets` with `rows` of a cache: of this one, or of one from a caller."""
        for layer, given in zip(self.cache, cache, strict=True):
            layer.copy(given, rows, targets)

    def view(self, first: int, lengths: Sequence[int]) -> list[KVCache]:
        """Return a cache of the rows from `first` on, rewound to `lengths`; it uses the same memory.

        Every pass needs this, because a row may have other positions after these: the padding of a batch, or
        what an interrupted pass has written.
        """
        views = [layer.keep(slice(first, first + len(lengths))) for layer in self.cache]
        for view in views:
            view.rewind(lengths)
        return views

    def read(self, first: int, lengths: Sequence[int], tokens: np.ndarray,
             whole: bool = False) -> Tensor | None:
        """Append tokens (B, n) after `lengths` positions of the rows from `first` on.

        Returns the model's vectors (B, n, C) if `whole`. Otherwise the pass ends when the last layer's cache
        is filled, because nobody needs the rest of that layer.
        """
        cache = self.view(first, lengths)
        cache[-1].ends = not whole
        with suppress(Filled):
            return self.model.hidden(tokens, cache)
        return None

    def release(self, count: int, leaving: Sequence[int]) -> list[int]:
        """Free some of the rows 0 to count - 1 -> for each row that stays, the number that it had before.

        [A, B, C, D] without A becomes [D, B, C], and the result is [3, 1, 2]: the last rows fill the gaps, so
        that no other row has to move. An interrupted release can be repeated, because it never writes to a
        row that it reads.
        """
        staying = count - len(leaving)
        if not staying:  # all rows are free: release the memory, which a long text may have enlarged
            self.cache = self.model.new_cache(0, 0)
            return []
        gaps = [row for row in leaving if row < staying]
        last = sorted({*range(staying, count)} - {*leaving})  # as many as there are gaps
        self.copy(self.cache, last, gaps)
        order = list(range(staying))
        for gap, row in zip(gaps, last, strict=True):
            order[gap] = row
        return order
