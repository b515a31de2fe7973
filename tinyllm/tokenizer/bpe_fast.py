"""Train and encode BPE fast in Python, by looking only at what the last merge changed.

The specs in `ops/bpe.py` define the result. Tests compare both on thousands of random cases. If an op is
replaced (`tinyllm.override(bpe_merge=f)`), the ops run instead.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from tinyllm.errors import UserError
from tinyllm.ops.bpe import BYTES, bpe_merge, bpe_train
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


def train(pieces: Sequence[bytes], counts: Sequence[int], n_merges: int,
          progress: Callable[[int, int], None] | None = None,
          on_merge: Callable[[int, int, int, int], None] | None = None) -> Merges:  # fmt: skip
    """Return the same dict as `ops.bpe_train(pieces, counts, n_merges)`, but faster.

    pieces: N `bytes`, counts: N ints >= 1 -> {(left, right): new token}. A merge looks only at the pieces
    that contain its pair. After each merge, `progress(done, total)` and `on_merge(left, right, new, count)`
    are called.
    """
    if bpe_train.replaced:
        return bpe_train(pieces, counts, n_merges)
    tokens = [list(piece) for piece in pieces]
    totals: Counter = Counter()
    where = defaultdict(set)  # pair -> the pieces that hold it, or held it before another merge
    for i, (ids, count) in enumerate(zip(tokens, counts, strict=True)):
        for pair in pairwise(ids):
            totals[pair] += count
            where[pair].add(i)
    # A count in the heap may be too large, never too small: after a pair enters the heap, its count can only
    # fall, because merges make pairs with the new token only. So the top is the best pair if its count is
    # still correct.
    heap = [(-total, pair) for pair, total in totals.items()]
    heapq.heapify(heap)
    merges: Merges = {}
    while heap and len(merges) < n_merges:
        minus_count, pair = heapq.heappop(heap)
        changed = {pair}
        if totals[pair] == -minus_count:
            new_id = merges[pair] = BYTES + len(merges)
            changed = _merge_everywhere(pair, new_id, tokens, counts, totals, where)
            if progress:
                progress(len(merges), n_merges)
            if on_merge:
                on_merge(pair[0], pair[1], new_id, -minus_count)
        for each in changed:
            if totals[each]:
                heapq.heappush(heap, (-totals[each], each))
    return merges


def _merge_everywhere(pair, new_id, tokens, counts, totals, where):
    """Merge a pair in all pieces, update the counts and positions, and return the new pairs."""
    made = set()
    for i in where.pop(pair):
        before, tokens[i] = tokens[i], bpe_merge.reference(tokens[i], pair, new_id)
        for each in pairwise(before):
            totals[each] -= counts[i]
        for each in pairwise(tokens[i]):
            totals[each] += counts[i]
            if new_id in each:
                where[each].add(i)
                made.add(each)
    return made


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
