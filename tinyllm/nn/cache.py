"""Define the KV cache: keys and values of past tokens, so that decoding computes the newest token only."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.ops.quant import bfloat16, from_bfloat16
from tinyllm.ops.runtime import empty


class Filled(Exception):
    """Stop a forward pass once the KV cache of its last layer is filled: see `KVCache.ends`."""


# {kind: (function that packs an array into one or more arrays, function that unpacks these to float32)}.
# All arrays begin with the same two axes, rows and positions, so that positions are packed independently.
CODECS: dict[str, tuple[Callable, Callable | None]] = {
    "float32": (lambda x: (x,), None),
    "bf16": (lambda x: (bfloat16(np.asarray(x, np.float32)),), from_bfloat16),
    "int8": (ops.pack_int8, ops.unpack_int8),  # 8 bits, and a float32 scale for each head of a position
}


class KVCache:
    """Keep the keys and values of one attention layer for a batch of rows; each row has its own length.

    `keys` and `values` are the stored arrays (B, room, K, D), of `nbytes` together. Row b uses the first
    lengths[b] positions, and `attention(q, keys, values, lengths=cache.lengths)` ignores the others. So
    prompts of different lengths are decoded together without padding. `kind`, one of CODECS, can save memory
    by storing fewer bits.

    A decoder layer that also attends to an encoder's output keeps the keys and values of that output in
    `source`, a second KVCache. `source` is empty until the encoder's text is read, and is filled once.

    If `ends` is True, `append` appends and then raises Filled. The engine sets `ends` on the last layer when
    a pass only fills the caches: computing the rest of the last block would be a waste.
    """

    ends = False
    source: Any = None

    def __init__(self, batch: int, room: int, heads: int, width: int, dtype: np.dtype | type = np.float32,
                 kind: str = "float32", parts: int = 2):
        self.kind, self.parts = kind, parts  # 2 parts: keys and values; 1: one array is both
        packed = CODECS[kind][0](np.zeros((1, 1, heads, width), dtype))
        self.arrays = [zeros((batch, room, *x.shape[2:]), x.dtype) for _ in range(parts) for x in packed]
        self.lengths = np.zeros(batch, np.int64)

    keys = property(lambda self: self.arrays[0])
    values = property(lambda self: self.arrays[len(self.arrays) // 2])
    nbytes = property(lambda self: sum(array.nbytes for array in self.arrays))

    def reserve(self, batch: int, room: int) -> None:
        """Enlarge the arrays to at least `batch` rows of at least `room` positions; keep their content."""
        if self.source:
            self.source.reserve(batch, 0)
        used = self.length
        for i, old in enumerate(self.arrays):  # each looks at its own size, as Ctrl-C may come between two
            rows, width = old.shape[:2]
            if batch > rows or room > width:
                new = zeros((max(batch, rows), max(room, width), *old.shape[2:]), old.dtype)
                new[:rows, :used] = old[:, :used]
                self.arrays[i] = new
        if (more := batch - len(self.lengths)) > 0:  # each token comes here, and `np.pad` is slow
            self.lengths = np.pad(self.lengths, (0, more))

    @property
    def length(self) -> int:
        """Return the number of positions in the longest row."""
        return int(self.lengths[0] if len(self.lengths) == 1 else self.lengths.max(initial=0))

    def append(self, k: np.ndarray, v: np.ndarray, halves: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Append S new positions to every row, and return the keys and values of all positions.

        k, v (B, S, K, D) -> keys, values from `read(halves)`: do not write to them, and read only the first
        `lengths[b]` positions of row b. Raises UserError, and changes nothing, when a row cannot hold S more
        positions. Raises ValueError for other shapes.
        """
        batch, room, heads, width = self.keys.shape
        S = k.shape[1]
        if k.shape != (batch, S, heads, width) or v.shape != k.shape:
            raise ValueError(f"a cache {self.keys.shape} got keys {k.shape} and values {v.shape}")
        length = self.length
        if length + S > room:
            raise UserError(f"the context is full: {length} + {S} positions exceed {room}")
        if batch == 1 or (self.lengths == length).all():  # a slice is faster than a list of indices
            self.write((slice(None), slice(length, length + S)), k, v)
        else:
            self.write((np.arange(batch)[:, None], self.lengths[:, None] + np.arange(S)), k, v)
        self.lengths += S  # last, so that an interrupted append changes nothing
        if self.ends:
            raise Filled
        return self.read(halves)

    def write(self, where: Any, k: np.ndarray, v: np.ndarray) -> None:
        """Store keys and values at `where`, an index of rows and positions."""
        pack, _ = CODECS[self.kind]
        packed = [x for part in (k, v)[: self.parts] for x in pack(part)]
        for array, x in zip(self.arrays, packed, strict=True):
            array[where] = x

    def read(self, halves: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return keys and values (B, room, K, D), as the cache's own arrays.

        A packed cache returns unpacked copies (B, length, K, D), which end with the longest row. With
        `halves`, a bf16 cache returns its own arrays, too: bfloat16 numbers as uint16.
        """
        (_, unpack), n = CODECS[self.kind], self.length
        if unpack is None or (halves and self.kind == "bf16"):
            return self.keys, self.values
        size = len(self.arrays) // self.parts  # arrays for the keys, and as many for the values
        parts = [unpack(*(array[:, :n] for array in self.arrays[i : i + size]))
                 for i in range(0, len(self.arrays), size)]
        return parts[0], parts[-1]

    def rewind(self, lengths: Any) -> None:
        """Shorten row b to its first lengths[b] positions; a single number applies to all rows."""
        np.minimum(self.lengths, lengths, out=self.lengths)

    def keep(self, rows: Any) -> "KVCache":
        """Return a cache of the given rows, in this order: a copy, but for a slice a view."""
        found = object.__new__(type(self))
        found.kind, found.parts = self.kind, self.parts
        found.arrays, found.lengths = [array[rows] for array in self.arrays], self.lengths[rows]
        found.source = self.source and self.source.keep(rows)
        return found

    def copy(self, other: "KVCache", rows: Any, targets: Any, source: bool = True) -> None:
        """Overwrite the rows `targets` of this cache with `rows` of `other`, a cache that may be this one.

        The cache grows if its rows are too short. With `source=False`, the cache `source` is not copied.
        """
        if self.source and source:
            self.source.copy(other.source, rows, targets)
        if len(rows):
            longest = int(other.lengths[rows].max())
            self.reserve(0, longest)
            for own, given in zip(self.arrays, other.arrays, strict=True):
                own[targets, :longest] = given[rows, :longest]
            self.lengths[targets] = other.lengths[rows]

    def clear(self, row: int) -> None:
        """Empty a row, and set its numbers to 0, because they may be NaN."""
        for array in (*self.arrays, self.lengths):
            array[row] = 0
        if self.source:
            self.source.clear(row)


def zeros(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return zeros for a new cache: even unused positions must be finite, because 0 * NaN is NaN."""
    array = empty(shape, np.dtype(dtype))
    array[:] = 0
    return array
