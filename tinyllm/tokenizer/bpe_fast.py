"""Fast `bpe_train` and `bpe_encode` in Python: after a merge, only its neighbours are updated.

The specs in `ops/bpe.py` define the result. The time of this file grows with the text, not with the text
times the vocabulary. Tests compare both on thousands of random cases. If an op is replaced
(`tinyllm.override(bpe_merge=f)`), the ops run instead.

Both functions keep the tokens in a doubly linked list in three flat lists: `ids[i]` is a token, `left[i]`
and `right[i]` are the indices of its neighbours. A merge writes the new token at its left half and unlinks
its right half.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from tinyllm.ops.bpe import BYTES, bpe_train
from tinyllm.ops.registry import _compiled

Merges = dict[tuple[int, int], int]  # {(left, right): new token or rank}
GAP = -1  # separates pieces: no pair crosses it
DEAD = -2  # the right half of a merge


def kernels(operation: Any) -> Any:
    """Return the compiled module if a kernel runs this op, else None."""
    return _compiled if operation.backend == "compiled" else None


def train(pieces: Sequence[bytes], counts: Sequence[int], n_merges: int,
          progress: Callable[[int, int], None] | None = None,
          on_merge: Callable[[int, int, int, int], None] | None = None) -> Merges:  # fmt: skip
    """Learn merges, fast: return the same dict as `ops.bpe_train(pieces, counts, n_merges)`.

    pieces: N `bytes`, counts: N ints >= 1 -> {(left, right): new token}. O(n log n) for n bytes in all the
    pieces. `progress(done, total)` and `on_merge(left, right, new, count)` are called after every merge.
    """
    if bpe_train.replaced:
        return bpe_train(pieces, counts, n_merges)
    ids, weight = _concatenate(pieces, counts)
    left = list(range(-1, len(ids) - 1))
    right = list(range(1, len(ids) + 1))
    totals, where = _index_pairs(ids, weight)
    # A count in the heap may be too large, never too small: after a pair enters the heap, its count can only
    # fall, because merges make pairs with the new token only. So the top is the best pair if its count is
    # still correct.
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


def _concatenate(pieces, counts):
    """Concatenate the pieces with gaps around them -> (ids, weight), where weight[i] is the piece's count."""
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
    """Merge a pair at all its positions, update counts and positions, and return the new pairs.

    A list in `where` is filled from left to right during one call only, the one that makes the newer token of
    its pair; so it is sorted without repeats. Some of its positions may be outdated when it is used, but they
    never become valid again, because a token is only ever replaced by a newer one.
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
    """Encode a piece: return the list of `ops.bpe_encode(piece, merges)` in O(n log n) for n bytes.

    The heap holds every pair that could be merged; the one learnt first is on top, then the leftmost. With
    `order`, {(left, right): rank}, the smallest rank goes first instead of the smallest new token.
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
