"""`bpe_train` and `bpe_encode` without looking at everything again: a merge changes only its neighbours.

The specs in `ops/bpe.py` define the answer; this file finds it in time that grows with the text and not
with the text times the vocabulary. Tests hold them equal on thousands of drawn cases. Where an op
is replaced (`tinyllm.override(bpe_merge=f)`), the ops run instead.

Both functions keep the tokens in a doubly linked list in three flat lists: `ids[i]` is a token, `left[i]`
and `right[i]` are where its neighbours stand. A merge writes the new token at its left half and unlinks its
right half.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from tinyllm.ops.bpe import BYTES, bpe_encode, bpe_train
from tinyllm.ops.registry import _compiled

Merges = dict[tuple[int, int], int]  # {(left, right): new token or rank}
GAP = -1  # stands between pieces: no pair crosses it
DEAD = -2  # the right half of a merge


def kernels(operation: Any) -> Any:
    """Return the compiled module where a kernel runs this op, else None."""
    return _compiled if operation.backend == "compiled" else None


def train(pieces: Sequence[bytes], counts: Sequence[int], n_merges: int,
          progress: Callable[[int, int], None] | None = None,
          on_merge: Callable[[int, int, int, int], None] | None = None) -> Merges:  # fmt: skip
    """Learn merges: return the same dict as `ops.bpe_train(pieces, counts, n_merges)`, faster.

    pieces: N `bytes`, counts: N ints >= 1 -> {(left, right): new token}. O(n log n) for n bytes in all the
    pieces. `progress(done, total)` and `on_merge(left, right, new, count)` are called after every merge.
    """
    if bpe_train.replaced:
        return bpe_train(pieces, counts, n_merges)
    ids, weight = _lay_end_to_end(pieces, counts)
    left = list(range(-1, len(ids) - 1))
    right = list(range(1, len(ids) + 1))
    totals, where = _index_pairs(ids, weight)
    # A count in the heap may be too large, never too small: a pair's count only falls once it is in there,
    # because merges make pairs with the new token only. So the top is the best pair if its count is still
    # true.
    heap = [(-total, pair) for pair, total in totals.items()]
    heapq.heapify(heap)
    merges: Merges = {}
    while heap and len(merges) < n_merges:
        minus_count, pair = heapq.heappop(heap)
        changed = (pair,)
        if totals[pair] == -minus_count:
            new_id = BYTES + len(merges)
            merges[pair] = new_id
            changed = _merge_everywhere(pair, new_id, ids, left, right, weight, totals, where)
            if progress:
                progress(len(merges), n_merges)
            if on_merge:
                on_merge(pair[0], pair[1], new_id, -minus_count)
        for each in changed:
            if totals[each]:
                heapq.heappush(heap, (-totals[each], each))
    return merges


def _lay_end_to_end(pieces, counts):
    """Write all pieces into one list with gaps around them, and beside each token its piece's count."""
    ids, weight = [GAP], [0]
    for piece, count in zip(pieces, counts, strict=True):
        ids += piece
        ids.append(GAP)
        weight += [count] * len(piece)
        weight.append(0)
    return ids, weight


def _index_pairs(ids, weight):
    """Count every pair, and list the positions of its left half in ascending order."""
    totals, where = {}, {}
    for i, pair in enumerate(pairwise(ids)):
        if GAP not in pair:
            totals[pair] = totals.get(pair, 0) + weight[i]
            where.setdefault(pair, []).append(i)
    return totals, where


def _merge_everywhere(pair, new_id, ids, left, right, weight, totals, where):
    """Merge a pair in all its places, keep counts and places up to date, and return the pairs that this made.

    A list in `where` is filled during one call only, the one that makes its younger token, from left to
    right; so it is sorted and holds nothing twice. Some of its places may be gone by the time it is used,
    and they never come back: a token only ever turns into a younger one.
    """
    first, second = pair
    made = set()
    for i in where.pop(pair):
        j = right[i]
        if ids[i] != first or ids[j] != second:
            continue
        before, after, count = left[i], right[j], weight[i]
        ids[i], ids[j] = new_id, DEAD
        right[i], left[after] = after, i
        if ids[before] != GAP:
            totals[ids[before], first] -= count
            new = (ids[before], new_id)
            totals[new] = totals.get(new, 0) + count
            where.setdefault(new, []).append(before)
            made.add(new)
        if ids[after] != GAP:
            totals[second, ids[after]] -= count
            new = (new_id, ids[after])
            totals[new] = totals.get(new, 0) + count
            where.setdefault(new, []).append(i)
            made.add(new)
    totals[pair] = 0
    return made


def encode(piece: bytes | list[int], merges: Merges, order: Merges | None = None) -> list[int]:
    """Write a piece in tokens: the list of `ops.bpe_encode(piece, merges)`, in O(n log n) for n tokens.

    The heap holds every pair that could be merged, the first learnt on top, and the leftmost of those. With
    `order`, {(left, right): rank}, the smallest rank goes first instead of the smallest new token.
    """
    if bpe_encode.replaced:
        return bpe_encode(piece, merges)
    return merge_all(piece, merges, merges if order is None else order)


def merge_all(piece: bytes | list[int], merges: Merges, order: Merges) -> list[int]:
    """Do the work of `encode`, whatever runs the op."""
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
