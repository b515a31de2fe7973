"""Define the KV cache: keys and values of past tokens, so that decoding computes the newest token only."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinyllm import ops
from tinyllm.errors import UserError
from tinyllm.ops.quant import from_bfloat16
from tinyllm.ops.runtime import empty


class Filled(Exception):
    """Stop a forward pass once the KV cache of its last layer is filled: see `KVCache.ends`."""


class KVCache:
    """Keep the keys and values of one attention layer for a batch of rows; each row has its own length.

    `keys` and `values` are (B, room, K, D). Row b uses the first lengths[b] positions, and
    `attention(q, keys, values, lengths=cache.lengths)` ignores the others. So prompts of different lengths
    are decoded together without padding.

    If `ends` is True, `append` appends and then raises Filled. The engine sets `ends` on the last layer when
    a pass only fills the caches: computing the rest of the last block would be a waste.
    """

    ends = False
    keys: np.ndarray
    values: np.ndarray
    stored: tuple[str, ...] = ("keys", "values")  # the names of its arrays, all (batch, room, ...)

    def __init__(self, batch: int, room: int, heads: int, width: int, dtype: DTypeLike = np.float32):
        for name in self.stored:
            setattr(self, name, zeros((batch, room, heads, width), dtype))
        self.lengths = np.zeros(batch, np.int64)

    def reserve(self, batch: int, room: int) -> None:
        """Enlarge the arrays to at least `batch` rows of at least `room` positions; nothing is forgotten."""
        (rows, width), used = self.keys.shape[:2], self.length
        if batch <= rows and room <= width:
            return
        for name in self.stored:
            old = getattr(self, name)
            new = zeros((max(batch, rows), max(room, width), *old.shape[2:]), old.dtype)
            new[:rows, :used] = old[:, :used]
            setattr(self, name, new)
        self.lengths = np.pad(self.lengths, (0, max(batch - rows, 0)))

    @property
    def length(self) -> int:
        """Return the number of positions in the longest row."""
        return int(self.lengths[0] if len(self.lengths) == 1 else self.lengths.max(initial=0))

    @property
    def nbytes(self) -> int:
        """Return the size of the cache's arrays in bytes."""
        return sum(getattr(self, name).nbytes for name in self.stored)

    def append(self, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Append S new positions to every row, and return the keys and values of all positions.

        k, v (B, S, K, D) -> keys, values from `read`: do not write to them, and read only the first
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
        if batch == 1 or (self.lengths == length).all():  # writing a slice is faster than writing a list
            self.write((slice(None), slice(length, length + S)), k, v)
        else:
            self.write((np.arange(batch)[:, None], self.lengths[:, None] + np.arange(S)), k, v)
        self.lengths += S  # last, so that an interrupted append changes nothing
        if self.ends:
            raise Filled
        return self.read()

    def write(self, where: Any, k: np.ndarray, v: np.ndarray) -> None:
        """Store keys and values at `where`, an index of rows and positions."""
        for name, x in zip(self.stored, (k, v), strict=False):
            getattr(self, name)[where] = x

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return keys and values (B, room, K, D), as the cache's own arrays.

        A packed cache returns unpacked copies, only as long as the longest row.
        """
        return self.keys, self.values

    def rewind(self, lengths: Any) -> None:
        """Forget the positions of row b behind its first lengths[b]; one number is for all rows."""
        np.minimum(self.lengths, lengths, out=self.lengths)

    def rows(self, begin: int, end: int) -> Any:
        """Return a view of the rows from `begin` to `end`, a cache that uses the same memory."""
        view = object.__new__(type(self))
        for name in self.stored:
            setattr(view, name, getattr(self, name)[begin:end])
        view.lengths = self.lengths[begin:end]
        return view

    def copy(self, other: Any, rows: Any, targets: Any) -> None:
        """Overwrite the rows `targets` of this cache with `rows` of `other`, a cache that may be this one.

        The cache grows if its rows are too short.
        """
        if len(rows):
            longest = int(other.lengths[rows].max())
            self.reserve(0, longest)
            for name in self.stored:
                getattr(self, name)[targets, :longest] = getattr(other, name)[rows, :longest]
            self.lengths[targets] = other.lengths[rows]

    def clear(self, row: int) -> None:
        """Empty a row, and set its numbers to 0, because they may be NaN."""
        for name in (*self.stored, "lengths"):
            getattr(self, name)[row] = 0

    def keep(self, rows: np.ndarray | list[int]) -> Any:
        """Return a new cache with copies of the given rows, in the given order."""
        kept = object.__new__(type(self))
        for name in (*self.stored, "lengths"):
            setattr(kept, name, getattr(self, name)[rows])
        return kept


class LatentCache(KVCache):
    """Keep the vectors of multi-head latent attention, in one array that is both `keys` and `values`."""

    stored: tuple[str, ...] = ("keys",)
    values = property(lambda self: self.keys)  # type: ignore[assignment]


class CrossCache(KVCache):
    """Keep keys and values of a decoder layer, and in `source` the keys and values of the encoder's output.

    `source` has no room at first. It is filled once, when the encoder's text is read.
    """

    def __init__(self, batch: int, room: int, heads: int, width: int, dtype: DTypeLike = np.float32):
        super().__init__(batch, room, heads, width, dtype)
        self.source = KVCache(batch, 0, heads, width, dtype)

    def reserve(self, batch: int, room: int) -> None:
        super().reserve(batch, room)
        self.source.reserve(batch, 0)

    def rows(self, begin: int, end: int) -> Any:
        view = super().rows(begin, end)
        view.source = self.source.rows(begin, end)
        return view

    def copy(self, other: Any, rows: Any, targets: Any) -> None:
        super().copy(other, rows, targets)
        self.source.copy(other.source, rows, targets)

    def clear(self, row: int) -> None:
        super().clear(row)
        self.source.clear(row)

    def keep(self, rows: np.ndarray | list[int]) -> Any:
        kept = super().keep(rows)
        kept.source = self.source.keep(rows)
        return kept


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array for a cache. Numbers that are ignored must be finite, too, because 0 * NaN is NaN."""
    array = empty(shape, np.dtype(dtype))
    array[:] = 0
    return array


class Half:
    """Pack a cache in bfloat16 (the upper half of a float32, stored as uint16) to halve its memory."""

    def __init__(self, batch: int, room: int, heads: int, width: int, dtype: Any = None):
        super().__init__(batch, room, heads, width, np.uint16)  # type: ignore[call-arg]

    def write(self: Any, where: Any, k: np.ndarray, v: np.ndarray) -> None:
        for name, x in zip(self.stored, (k, v), strict=False):
            bits = ops.round_bf16(np.asarray(x, np.float32)).view(np.uint32)
            getattr(self, name)[where] = (bits >> np.uint32(16)).astype(np.uint16)

    def read(self: Any) -> tuple[np.ndarray, np.ndarray]:
        arrays = [from_bfloat16(getattr(self, name)[:, : self.length]) for name in self.stored]
        return arrays[0], arrays[-1]


class Int8:
    """Pack a cache in 8 bits for each number, with a float32 scale for each head of each position.

    The error of a number depends only on its own head and position, so rows stay independent.
    """

    def __init__(self, batch: int, room: int, heads: int, width: int, dtype: Any = None):
        super().__init__(batch, room, heads, width, np.int8)  # type: ignore[call-arg]
        for name in self.scales:
            setattr(self, name, np.zeros((batch, room, heads), np.float32))

    @property
    def scales(self: Any) -> tuple[str, ...]:
        """Return the names of the arrays with scales, the second half of `stored`."""
        return self.stored[len(self.stored) // 2 :]

    def write(self: Any, where: Any, k: np.ndarray, v: np.ndarray) -> None:
        for name, scales, x in zip(self.stored, self.scales, (k, v), strict=False):
            getattr(self, name)[where], getattr(self, scales)[where] = ops.pack_int8(x)

    def read(self: Any) -> tuple[np.ndarray, np.ndarray]:
        parts, half = [getattr(self, name)[:, : self.length] for name in self.stored], len(self.scales)
        arrays = [ops.unpack_int8(*pair) for pair in zip(parts[:half], parts[half:], strict=True)]
        return arrays[0], arrays[-1]


class HalfCache(Half, KVCache):
    """A KV cache in bfloat16."""


class HalfLatentCache(Half, LatentCache):
    """A cache of latent attention in bfloat16."""


class Int8Cache(Int8, KVCache):
    """A KV cache in 8 bits."""

    stored = ("keys", "values", "key_scales", "value_scales")


class Int8LatentCache(Int8, LatentCache):
    """A cache of latent attention in 8 bits."""

    stored = ("keys", "key_scales")


PACKED: dict[str, dict[type, type]] = {  # what `nn.pack_cache` makes of a cache
    "float32": {},
    "bf16": {KVCache: HalfCache, LatentCache: HalfLatentCache},
    "int8": {KVCache: Int8Cache, LatentCache: Int8LatentCache},
}
