"""The mistakes that people really make in byte pair encoding, one at a time."""

from collections import Counter
from itertools import pairwise

from tinyllm.ops.bpe import BYTES, bpe_merge, bpe_pair_counts

merge, count_pairs = bpe_merge.reference, bpe_pair_counts.reference  # right, whatever is plugged in


# bpe_pair_counts(pieces, counts)


def counts_each_piece_once(pieces, counts):
    return count_pairs(pieces, [1] * len(pieces))


def counts_across_pieces(pieces, counts):
    text = [token for ids, count in zip(pieces, counts, strict=True) for token in list(ids) * count]
    return dict(Counter(pairwise(text)))


def counts_without_overlap(pieces, counts):
    totals = Counter()
    for ids, count in zip(pieces, counts, strict=True):
        i = 0
        while i + 1 < len(ids):
            totals[ids[i], ids[i + 1]] += count
            i += 2 if tuple(ids[i : i + 2]) == tuple(ids[i + 1 : i + 3]) else 1
    return dict(totals)


def counts_either_order_alike(pieces, counts):
    totals = Counter()
    for (left, right), count in count_pairs(pieces, counts).items():
        totals[min(left, right), max(left, right)] += count
    return dict(totals)


def counts_every_second_pair(pieces, counts):
    totals = Counter()
    for ids, count in zip(pieces, counts, strict=True):
        for i in range(0, len(ids) - 1, 2):
            totals[ids[i], ids[i + 1]] += count
    return dict(totals)


# bpe_merge(ids, pair, new_id)


def merge_uses_a_token_twice(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == tuple(pair):
            merged.append(new_id)
            i += 1 if tuple(ids[i + 1 : i + 3]) == tuple(pair) else 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_from_the_right(ids, pair, new_id):
    return merge(list(ids)[::-1], tuple(pair)[::-1], new_id)[::-1]


def merge_the_first_only(ids, pair, new_id):
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == tuple(pair):
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


def merge_loses_the_last_token(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == tuple(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_in_either_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_keeps_the_right_half(ids, pair, new_id):
    right = {new_id: [pair[1]]}
    return [token for each in merge(ids, pair, new_id) for token in [each, *right.get(each, [])]]


def merge_changes_its_input(ids, pair, new_id):
    merged = merge(ids, pair, new_id)
    if isinstance(ids, list):
        ids[:] = merged
    return merged


# bpe_train(pieces, counts, n_merges)


def train_with(pieces, counts, n_merges, choose, count=count_pairs):
    """The right loop around a choice that may be wrong: totals -> pair, or None to stop."""
    merges = {}
    for new_id in range(BYTES, BYTES + n_merges):
        totals = count(pieces, counts)
        best = choose(totals) if totals else None
        if best is None:
            break
        merges[best] = new_id
        pieces = [merge(ids, best, new_id) for ids in pieces]
    return merges


def best_pair(totals):
    return min(totals, key=lambda pair: (-totals[pair], pair))


def train_ties_to_the_largest(pieces, counts, n_merges):
    def choose(totals):
        return max(totals, key=lambda pair: (totals[pair], pair))

    return train_with(pieces, counts, n_merges, choose)


def train_ties_to_the_first_seen(pieces, counts, n_merges):
    return train_with(pieces, counts, n_merges, lambda totals: max(totals, key=totals.get))


def train_ignores_counts(pieces, counts, n_merges):
    return train_with(pieces, [1] * len(pieces), n_merges, best_pair)


def train_across_pieces(pieces, counts, n_merges):
    return train_with(pieces, counts, n_merges, best_pair, counts_across_pieces)


def train_counts_once(pieces, counts, n_merges):
    totals = count_pairs(pieces, counts)
    ranked = sorted(totals, key=lambda pair: (-totals[pair], pair))[: max(n_merges, 0)]
    return {pair: BYTES + i for i, pair in enumerate(ranked)}


def train_stops_at_pairs_seen_once(pieces, counts, n_merges):
    def choose(totals):
        return best_pair(totals) if max(totals.values()) > 1 else None

    return train_with(pieces, counts, n_merges, choose)


def train_takes_the_rarest(pieces, counts, n_merges):
    def choose(totals):
        return min(totals, key=lambda pair: (totals[pair], pair))

    return train_with(pieces, counts, n_merges, choose)


def train_numbers_from_257(pieces, counts, n_merges):
    merges = train_with(pieces, counts, n_merges, best_pair)
    shift = {new_id: new_id + 1 for new_id in merges.values()}
    return {tuple(shift.get(side, side) for side in pair): new_id + 1 for pair, new_id in merges.items()}


# bpe_encode(ids, merges)


def encode_from_the_left(ids, merges):
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        new_id = merges.get((ids[i], ids[i + 1]))
        if new_id is None:
            i += 1
        else:
            ids[i : i + 2] = [new_id]
            i = max(i - 1, 0)
    return ids


def encode_takes_the_longest_token(ids, merges):
    spelled = {(i,): i for i in range(BYTES)}
    letters = {i: (i,) for i in range(BYTES)}
    for (left, right), new_id in merges.items():
        letters[new_id] = letters[left] + letters[right]
        spelled[letters[new_id]] = new_id
    found, i = [], 0
    while i < len(ids):
        end = next(end for end in range(len(ids), i, -1) if tuple(ids[i:end]) in spelled)
        found.append(spelled[tuple(ids[i:end])])
        i = end
    return found


def encode_merges_once(ids, merges):
    known = [pair for pair in pairwise(ids) if pair in merges]
    if not known:
        return list(ids)
    first = min(known, key=lambda pair: merges[pair])
    return merge(ids, first, merges[first])


def encode_latest_first(ids, merges):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = max(known, key=lambda pair: merges[pair])
        ids = merge(ids, pair, merges[pair])
    return ids


def encode_most_frequent_first(ids, merges):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        times = Counter(known)
        pair = min(known, key=lambda pair: (-times[pair], merges[pair]))
        ids = merge(ids, pair, merges[pair])
    return ids


def encode_each_merge_in_one_place(ids, merges):
    ids = list(ids)
    for pair, new_id in merges.items():
        ids = merge_the_first_only(ids, pair, new_id)
    return ids


def encode_gives_merge_numbers(ids, merges):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = min(known, key=lambda pair: merges[pair])
        ids = merge(ids, pair, merges[pair])
    return [token - BYTES if token >= BYTES else token for token in ids]


MISTAKES = {
    "bpe_pair_counts": [
        ("a piece that occurs three times counts only once", counts_each_piece_once),
        ("the end of one piece and the start of the next are counted as a pair", counts_across_pieces),
        ("overlapping pairs are left out: aaa holds the pair aa twice", counts_without_overlap),
        ("ab and ba are counted as the same pair", counts_either_order_alike),
        ("only every second pair is counted: the window must move by one token", counts_every_second_pair),
    ],
    "bpe_merge": [
        ("a token is used for two merges: aaa must become one new token and a", merge_uses_a_token_twice),
        ("merges from the right: aaa must become the new token, then a", merge_from_the_right),
        ("stops after the first occurrence", merge_the_first_only),
        ("loses the last token", merge_loses_the_last_token),
        ("merges ba as well as ab", merge_in_either_order),
        ("keeps the right half beside the new token", merge_keeps_the_right_half),
        ("changes the list that it was given", merge_changes_its_input),
    ],
    "bpe_train": [
        ("of pairs with equal counts takes the largest", train_ties_to_the_largest),
        ("of pairs with equal counts takes the first seen", train_ties_to_the_first_seen),
        ("does not weigh a piece by how often it occurs", train_ignores_counts),
        ("learns pairs that cross from one piece into the next", train_across_pieces),
        ("counts pairs once, and not again after every merge", train_counts_once),
        ("stops while there are still pairs, because they occur only once", train_stops_at_pairs_seen_once),
        ("takes the rarest pair", train_takes_the_rarest),
        ("numbers the new tokens from 257; 256 is the first that is free", train_numbers_from_257),
    ],
    "bpe_encode": [
        ("merges whatever comes first in the text, not what was learnt first", encode_from_the_left),
        ("takes the longest token that fits, which is not what training did", encode_takes_the_longest_token),
        ("stops after one merge", encode_merges_once),
        ("merges what was learnt last first", encode_latest_first),
        ("merges what is most frequent in the piece, not what was learnt first", encode_most_frequent_first),
        ("merges each pair in one place only", encode_each_merge_in_one_place),
        ("returns the number of the merge, not of the token", encode_gives_merge_numbers),
    ],
}
