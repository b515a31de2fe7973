"""Encode BPE in Python where no kernel does: while a vocabulary is read from ranks, and without a compiler.

The spec `bpe_encode` defines the result, for merges in the order of their tokens; files of others may have
any order.
"""

import heapq
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tinyllm.errors import UserError
from tinyllm.ops.registry import _compiled

Merges = dict[tuple[int, int], int]  # {(left, right): new token or rank}
GAP = -1  # a mark after the last token: no pair contains it
DEAD = -2  # a mark in place of the right half of a merge


def kernels(operation: Any) -> Any:
    """Return the compiled module if a kernel runs this op, or None."""
    if operation._run is operation.implementations.get("compiled"):  # the usual case, and the quick answer
        return _compiled
    return _compiled if operation.backend == "compiled" else None


def check_bytes(ids: Sequence[int]) -> None:
    """Raise UserError if ids contain -1 - i, which marks a byte i that has no token."""
    if ids and min(ids) < 0:
        raise UserError(
            f"the text has the byte 0x{-1 - min(ids):02x}, for which this vocabulary has no token; take it "
            "out of the text, or take another tokenizer"
        )


def encode(piece: bytes | list[int], merges: Merges, order: Merges | None = None) -> list[int]:
    """Encode a piece to the same ids as `ops.bpe_encode(piece, merges)`, in O(n log n) for n bytes.

    A heap holds every pair that could be merged. The pair learnt first is on top, and of equal pairs the
    leftmost. With `order`, {(left, right): rank}, the pair with the smallest rank goes first.
    """
    order = merges if order is None else order
    ids = list(piece)
    left = list(range(-1, len(ids) - 1))
    right = list(range(1, len(ids) + 1))
    heap = [(order[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in merges]
    heapq.heapify(heap)
    ids.append(GAP)  # the neighbour of both ends: ids[-1] and ids[n]
    left.append(0)
    while heap:
        rank, i = heapq.heappop(heap)
        j = right[i]
        if order.get((ids[i], ids[j])) != rank:
            continue  # one of the two has been merged with another neighbour since
        after = right[j]
        ids[i], ids[j] = merges[ids[i], ids[j]], DEAD
        right[i], left[after] = after, i
        for a, b in ((left[i], i), (i, after)):
            next_rank = order.get((ids[a], ids[b]))
            if next_rank is not None:
                heapq.heappush(heap, (next_rank, a))
    return [token for token in ids[:-1] if token != DEAD]
