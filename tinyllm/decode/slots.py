"""Keep a row of the KV caches for each text that is being continued.

The rows in use are 0, 1, ..., so that a pass over all of them uses the arrays themselves and copies nothing.
Several models may read the same texts: a draft model's cache then moves by the same calls.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinyllm.errors import UserError
from tinyllm.nn.cache import Filled, KVCache
from tinyllm.tensor import Tensor

BLOCK = 64  # positions: the room of the rows grows by whole blocks


class Slots:
    """Hold rows of a KV cache for each model. The caller knows how many positions of a row count."""

    def __init__(self, *models: Any):
        self.models = models
        self.caches: list[list[KVCache]] = [model.new_cache(0, 0) for model in models]

    def reserve(self, rows: int, room: int) -> None:
        """Enlarge the caches to at least this many rows of at least this many positions."""
        for model, cache in zip(self.models, self.caches, strict=True):
            have, width = cache[0].keys.shape[:2]
            if rows > have:  # a quarter more at least, so that a row is copied few times however many come
                have = max(rows, have * 5 // 4)
            if room > width:
                blocks = -(-max(room, width * 5 // 4) // BLOCK)
                width = min(blocks * BLOCK, model.config.context)
            for layer in cache:  # one after the other, so that only one layer is there twice at a time
                layer.reserve(have, width)

    def check(self, cache: list[KVCache]) -> None:
        """Raise UserError unless a caller's cache has one row, and is a cache of the first model."""
        found, needed = len(cache), len(self.caches[0])
        if found != needed or any(len(layer.lengths) != 1 for layer in cache):
            has = f"{found} layers of {len(cache[0].lengths) if cache else 0} rows"
            needs = f"the model needs {needed} layers of 1 row"
            raise UserError(f"the cache has {has}, and {needs}: use model.new_cache()")
        for own, given in zip(self.caches[0], cache, strict=True):
            if own.codec != given.codec or own.keys.shape[2:] != given.keys.shape[2:]:
                raise UserError("the cache stores other numbers than the model's: use model.new_cache()")

    def load(self, rows: Sequence[int], cache: list[KVCache]) -> None:
        """Copy a caller's cache, which has read something already, to rows of the first model's cache."""
        for layer, given in zip(self.caches[0], cache, strict=True):
            layer.copy(given, range(len(rows)), rows)

    def copy(self, rows: Sequence[int], targets: Sequence[int]) -> None:
        """Overwrite the rows `targets` with `rows`."""
        for layer in self._layers():
            layer.copy(layer, rows, targets)

    def view(self, first: int, lengths: Sequence[int], model: int = 0) -> list[KVCache]:
        """Return a model's cache of the rows from `first` on, rewound to `lengths`; it uses the same memory.

        Rewinding comes before every pass, because what is behind a row's length may be anything: padding of
        a batch, tokens that were refused, or the work of a pass that was interrupted in the middle.
        """
        views = [layer.rows(first, first + len(lengths)) for layer in self.caches[model]]
        for view in views:
            view.rewind(lengths)
        return views

    def read(self, first: int, lengths: Sequence[int], tokens: np.ndarray,
             whole: bool = False) -> Tensor | None:
        """Append tokens (B, n) behind `lengths` positions of the rows from `first` on, for every model.

        Returns the first model's vectors (B, n, C) if `whole`. Otherwise a pass ends when the last layer's
        cache is filled, because nobody needs the rest of that layer.
        """
        found: list[Tensor] = []
        for i, model in enumerate(self.models):
            cache = self.view(first, lengths, i)
            cache[-1].ends = not whole
            with suppress(Filled):
                found.append(model.hidden(tokens, cache))
        return found[0] if whole else None

    def clear(self, row: int) -> None:
        """Set the numbers of a row to 0: they may be NaN, and 0 * NaN would break the row's next text."""
        for layer in self._layers():
            layer.clear(row)

    def release(self, count: int, leaving: Sequence[int]) -> list[int]:
        """Free some of the rows 0 to count - 1 -> for each row that stays, the number that it had before.

        [A, B, C, D] without A becomes [D, B, C], and the result is [3, 1, 2]: the last rows fill the gaps, so
        that no other row has to move. An interrupted release can be repeated, because it never writes to a
        row that it reads.
        """
        staying = count - len(leaving)
        if not staying:  # nothing is worth keeping: give the memory back, in case that a text was long
            self.caches = [model.new_cache(0, 0) for model in self.models]
            return []
        free = set(leaving)
        gaps = [row for row in leaving if row < staying]
        last = [row for row in range(staying, count) if row not in free]  # as many as there are gaps
        self.copy(last, gaps)
        order = list(range(staying))
        for gap, row in zip(gaps, last, strict=True):
            order[gap] = row
        return order

    def _layers(self) -> list[KVCache]:
        return [layer for cache in self.caches for layer in cache]
