"""Put rows of different lengths into one array by padding."""

from collections.abc import Iterator, Sequence

import numpy as np


def pad_right(rows: Sequence[Sequence[int]], value: int = 0, width: int = 0) -> np.ndarray:
    """Pad N lists of ids on the right with `value` -> int64 (N, max(width, the longest length))."""
    longest = max([width, *map(len, rows)])
    if len(rows) and longest == min(map(len, rows)):  # nothing to pad
        return np.array(rows, np.int64)
    found = np.full((len(rows), longest), value, np.int64)
    for row, ids in zip(found, rows, strict=True):
        row[: len(ids)] = ids
    return found


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Pad N lists of ids on the right with zeros -> tokens (N, longest length), lengths (N,), both int64."""
    return pad_right(rows), np.array([len(row) for row in rows], np.int64)


def by_length(rows: Sequence[Sequence[int]], limit: int) -> Iterator[list[int]]:
    """Split rows into batches of similar lengths -> for each batch, the indices of its rows.

    A padded batch has at most `limit` positions, unless it is a single row.
    """
    batch: list[int] = []
    for row in sorted(range(len(rows)), key=lambda row: len(rows[row])):
        if batch and len(rows[row]) * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
