"""Put rows of different lengths into one array by padding."""

from collections.abc import Sequence

import numpy as np


def pad_right(rows: Sequence[Sequence[int]], value: int = 0, width: int = 0) -> np.ndarray:
    """Pad N lists of ids on the right with `value` -> int64 (N, width or the longest length)."""
    padded = np.full((len(rows), max([width, *map(len, rows)])), value, np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
