"""Padding: put rows of different lengths into one array."""

from collections.abc import Sequence

import numpy as np


def pad_right(rows: Sequence[Sequence[int]], value: int = 0, width: int = 0) -> np.ndarray:
    """Pad lists of ids on the right with `value`: N lists, which may be [] -> int64 (N, width or longest)."""
    padded = np.full((len(rows), max([width, *map(len, rows)])), value, np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
