"""Right solutions of the ops in bpe.py, written differently."""

import heapq
import itertools
from collections import Counter, defaultdict

from tinyllm.ops import bpe_merge, bpe_pair_counts
from tinyllm.testing.alternative import alternative


@alternative
def bpe_merge_by_stack(ids, pair, new_id):
    done, free = [], False  # free: the last token of `done` has not been used by a merge
    for token in ids:
        if free and (done[-1], token) == tuple(pair):
            done[-1], free = new_id, False
        else:
            done.append(token)
            free = True
    return done


@alternative
def bpe_merge_by_recursion_on_the_rest(ids, pair, new_id):
    ids, merged = list(ids), []
    while ids:
        take = 2 if ids[:2] == list(pair) else 1
        merged.append(new_id if take == 2 else ids[0])
        ids = ids[take:]
    return merged


@alternative
def bpe_merge_by_places(ids, pair, new_id):
    ids = list(ids)
    places, last = set(), -2
    for i in range(len(ids) - 1):
        if i > last + 1 and ids[i : i + 2] == list(pair):
            places.add(i)
            last = i
    gone = {i + 1 for i in places}
    return [new_id if i in places else token for i, token in enumerate(ids) if i not in gone]


@alternative
def bpe_pair_counts_by_counter(pieces, counts):
    totals = Counter()
    for ids, count in zip(pieces, counts, strict=True):
        for pair, times in Counter(itertools.pairwise(ids)).items():
            totals[pair] += times * count
    return dict(totals)


@alternative
def bpe_pair_counts_by_index(pieces, counts):
    totals = {}
    for n, ids in enumerate(pieces):
        for i in range(len(ids) - 1):
            pair = (ids[i], ids[i + 1])
            if pair not in totals:
                totals[pair] = 0
            totals[pair] += counts[n]
    return totals


@alternative
def bpe_pair_counts_by_writing_pieces_out(pieces, counts):
    totals = defaultdict(int)
    for ids, count in zip(pieces, counts, strict=True):
        pairs = [(ids[i], ids[i + 1]) for i in range(len(ids) - 1)]
        for pair in pairs * min(count, 1):
            totals[pair] += count
    return dict(totals)


def best_of(totals):
    """The highest count, then the smallest pair."""
    highest = max(totals.values())
    return min(pair for pair, count in totals.items() if count == highest)


@alternative
def bpe_train_by_lists_of_best(pieces, counts, n_merges):
    merges, words = {}, [list(ids) for ids in pieces]
    while len(merges) < n_merges:
        totals = bpe_pair_counts(words, counts)
        if not totals:
            break
        pair, new = best_of(totals), 256 + len(merges)
        merges[pair] = new
        words = [bpe_merge(ids, pair, new) for ids in words]
    return merges


@alternative
def bpe_train_by_sorting(pieces, counts, n_merges):
    merges = {}
    for new in range(256, 256 + n_merges):
        totals = sorted(bpe_pair_counts(pieces, counts).items(), key=lambda item: (-item[1], item[0]))
        if totals:
            merges[totals[0][0]] = new
            pieces = [bpe_merge(ids, totals[0][0], new) for ids in pieces]
    return merges


@alternative
def bpe_train_by_recursion_on_the_rest(pieces, counts, n_merges):
    def learn(pieces, new):
        totals = bpe_pair_counts(pieces, counts) if new < 256 + n_merges else {}
        if not totals:
            return {}
        pair = best_of(totals)
        return {pair: new} | learn([bpe_merge(ids, pair, new) for ids in pieces], new + 1)

    return learn(pieces, 256)


@alternative
def bpe_encode_by_every_merge_in_order(ids, merges):
    ids = list(ids)
    for pair, new in sorted(merges.items(), key=lambda item: item[1]):
        ids = bpe_merge(ids, pair, new)
    return ids


@alternative
def bpe_encode_by_one_place_at_a_time(ids, merges):
    ids = list(ids)
    while True:
        found = [(merges[pair], i) for i, pair in enumerate(itertools.pairwise(ids)) if pair in merges]
        if not found:
            return ids
        new, i = min(found)
        ids[i : i + 2] = [new]


@alternative
def bpe_encode_by_a_heap(ids, merges):
    ids, after = list(ids), list(range(1, len(ids) + 1))
    before = list(range(-1, len(ids) - 1))
    heap = [(merges[pair], i) for i, pair in enumerate(itertools.pairwise(ids)) if pair in merges]
    heapq.heapify(heap)
    while heap:
        new, i = heapq.heappop(heap)
        j = after[i]
        if ids[i] is None or j >= len(ids) or merges.get((ids[i], ids[j])) != new:
            continue
        ids[i], ids[j], after[i] = new, None, after[j]
        if after[j] < len(ids):
            before[after[j]] = i
        for left, right in ((before[i], i), (i, after[i])):
            if left >= 0 and right < len(ids) and (ids[left], ids[right]) in merges:
                heapq.heappush(heap, (merges[ids[left], ids[right]], left))
    return [token for token in ids if token is not None]
