"""Rows of different lengths in one array."""

from collections.abc import Sequence

import numpy as np


def pad_right(rows: Sequence[Sequence[int]], value: int = 0, width: int = 0) -> np.ndarray:
    """Fill up lists of ids behind them: N lists, which may be empty -> int64 (N, width or the longest)."""
    padded = np.full((len(rows), max([width, *map(len, rows)])), value, np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
