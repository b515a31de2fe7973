"""Keep the KV caches of texts that ended: a text that begins like one of them is read only in part."""

from bisect import bisect, bisect_left, insort
from collections.abc import Sequence
from itertools import takewhile
from operator import eq
from typing import Any

import numpy as np

from tinyllm.nn.cache import KVCache

SHORTEST = 16  # tokens; reading fewer costs no more than copying them


class Prefixes:
    """Store rows of caches by their ids, in `limit` bytes; those that were used longest ago are dropped.

    The ids are sorted, so that the stored text that shares the longest beginning with another is next to it.
    """

    def __init__(self, model: Any, limit: int):
        self.model, self.limit, self.nbytes = model, limit, 0
        self.rows: dict[tuple[int, ...], list[KVCache]] = {}  # those used longest ago first
        self.sorted: list[tuple[int, ...]] = []

    def find(self, ids: list[int]) -> tuple[int, list[KVCache]]:
        """Return how many of the first ids are stored, 0 if they are few, and a cache with them."""
        known, at = tuple(ids[:-1]), bisect(self.sorted, tuple(ids))  # the last id must be read: see Engine
        near = [(in_common(text, known), text) for text in self.sorted[max(0, at - 1) : at + 1]]
        count, text = max(near, default=(0, ()))
        if count < SHORTEST:
            return 0, []
        self.rows[text] = self.rows.pop(text)
        cache = [layer.keep(slice(1)) for layer in self.rows[text]]
        for layer in cache:
            layer.lengths = np.array([count])  # its own: the stored row stays as long as it is
        return count, cache

    def keep(self, ids: list[int], cache: list[KVCache], row: int) -> None:
        """Store a copy of the positions of a row that hold these ids, unless a longer text has them."""
        text, at = tuple(ids), bisect_left(self.sorted, tuple(ids))
        if len(text) < SHORTEST or any(near[: len(text)] == text for near in self.sorted[at : at + 1]):
            return
        new = self.model.new_cache(1, len(text))
        for layer, given in zip(new, cache, strict=True):
            for own, array in zip(layer.arrays, given.arrays, strict=True):
                own[0] = array[row, : len(text)]
        self.rows[text] = new
        insort(self.sorted, text)
        self.nbytes += sum(layer.nbytes for layer in new)
        while self.nbytes > self.limit:
            oldest = next(iter(self.rows))
            self.sorted.remove(oldest)
            self.nbytes -= sum(layer.nbytes for layer in self.rows.pop(oldest))


def in_common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many first ids of two texts are equal."""
    return sum(takewhile(bool, map(eq, a, b)))
