"""A few cases beyond the sizes that are drawn, where an op must not end: large ids, counts and sizes."""

from collections.abc import Callable

import numpy as np


def table() -> tuple:
    """Return a table of more rows than a byte counts, and ids of the last ones."""
    return np.arange(900, dtype=np.float32).reshape(300, 3), np.array([299, 0, 256, 257, 255])


LARGE: dict[str, Callable[[], tuple]] = {
    "embedding": table,
    "bpe_merge": lambda: ([70_000, 70_001, 5, 70_000, 70_001], (70_000, 70_001), 70_002),
    "bpe_pair_counts": lambda: ([[1, 2, 1, 2], [1, 2], [70_000, 2]], [20_000, 123_456_789, 10_001]),
    "count_parameters": lambda: (50_257, 4096, 200, 40_001),
    "grad_norm": lambda: ([np.full(3, i + 1, np.float32) for i in range(130)],),
}


def large_cases(name: str) -> list[tuple]:
    """Return the cases of an op that are larger than those that are drawn: a list of argument tuples."""
    return [LARGE[name]()] if name in LARGE else []
