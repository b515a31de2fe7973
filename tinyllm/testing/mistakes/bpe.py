"""The mistakes that people really make in byte pair encoding, one at a time."""

from collections import Counter
from itertools import pairwise

from tinyllm.ops.bpe import BYTES, bpe_merge, bpe_pair_counts
from tinyllm.testing.mistake import mistake
from tinyllm.testing.properties import PURE

merge, count_pairs = bpe_merge.reference, bpe_pair_counts.reference  # right, whatever is plugged in


@mistake("bpe_pair_counts", "counts in which a piece that occurs three times counts only once")
def counts_each_piece_once(pieces, counts):
    return count_pairs(pieces, [1] * len(pieces))


@mistake("bpe_pair_counts", "counts that take the end of one piece and the start of the next for a pair")
def counts_across_pieces(pieces, counts):
    text = [token for ids, count in zip(pieces, counts, strict=True) for token in list(ids) * count]
    return dict(Counter(pairwise(text)))


@mistake("bpe_pair_counts", "counts without overlapping pairs: aaa holds the pair aa twice")
def counts_without_overlap(pieces, counts):
    totals = Counter()
    for ids, count in zip(pieces, counts, strict=True):
        i = 0
        while i + 1 < len(ids):
            totals[ids[i], ids[i + 1]] += count
            i += 2 if tuple(ids[i : i + 2]) == tuple(ids[i + 1 : i + 3]) else 1
    return dict(totals)


@mistake("bpe_pair_counts", "counts that take ab and ba for the same pair")
def counts_either_order_alike(pieces, counts):
    totals = Counter()
    for (left, right), count in count_pairs(pieces, counts).items():
        totals[min(left, right), max(left, right)] += count
    return dict(totals)


@mistake("bpe_pair_counts", "counts of every second pair only: the window must move by one token")
def counts_every_second_pair(pieces, counts):
    totals = Counter()
    for ids, count in zip(pieces, counts, strict=True):
        for i in range(0, len(ids) - 1, 2):
            totals[ids[i], ids[i + 1]] += count
    return dict(totals)


@mistake("bpe_merge", "a merge that uses a token twice: aaa must become the new token and a")
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


@mistake("bpe_merge", "a merge from right to left: aaa must become the new token, then a")
def merge_from_the_right(ids, pair, new_id):
    return merge(list(ids)[::-1], tuple(pair)[::-1], new_id)[::-1]


@mistake("bpe_merge", "a merge that stops after the first occurrence")
def merge_the_first_only(ids, pair, new_id):
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == tuple(pair):
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return list(ids)


@mistake("bpe_merge", "a merge that loses the last token")
def merge_loses_the_last_token(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == tuple(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@mistake("bpe_merge", "a merge of ba as well as ab")
def merge_in_either_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = sorted(ids[i : i + 2]) == sorted(pair)
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


@mistake("bpe_merge", "a merge that keeps the right half beside the new token")
def merge_keeps_the_right_half(ids, pair, new_id):
    right = {new_id: [pair[1]]}
    return [token for each in merge(ids, pair, new_id) for token in [each, *right.get(each, [])]]


@mistake("bpe_merge", "the right merge, but done inside the list that was given", breaks=PURE)
def merge_changes_its_input(ids, pair, new_id):
    merged = merge(ids, pair, new_id)
    if isinstance(ids, list):
        ids[:] = merged
    return merged


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


@mistake("bpe_train", "merges that take the largest of the pairs with equal counts, not the smallest")
def train_ties_to_the_largest(pieces, counts, n_merges):
    def choose(totals):
        return max(totals, key=lambda pair: (totals[pair], pair))

    return train_with(pieces, counts, n_merges, choose)


@mistake("bpe_train", "merges that take the first seen of the pairs with equal counts, not the smallest")
def train_ties_to_the_first_seen(pieces, counts, n_merges):
    return train_with(pieces, counts, n_merges, lambda totals: max(totals, key=totals.get))


@mistake("bpe_train", "merges learnt without weighing a piece by how often it occurs")
def train_ignores_counts(pieces, counts, n_merges):
    return train_with(pieces, [1] * len(pieces), n_merges, best_pair)


@mistake("bpe_train", "merges of pairs that cross from one piece into the next")
def train_across_pieces(pieces, counts, n_merges):
    return train_with(pieces, counts, n_merges, best_pair, counts_across_pieces)


@mistake("bpe_train", "the most frequent pairs of bytes: count again after every merge")
def train_counts_once(pieces, counts, n_merges):
    totals = count_pairs(pieces, counts)
    ranked = sorted(totals, key=lambda pair: (-totals[pair], pair))[: max(n_merges, 0)]
    return {pair: BYTES + i for i, pair in enumerate(ranked)}


@mistake("bpe_train", "merges that stop while there are pairs, because they occur only once")
def train_stops_at_pairs_seen_once(pieces, counts, n_merges):
    def choose(totals):
        return best_pair(totals) if max(totals.values()) > 1 else None

    return train_with(pieces, counts, n_merges, choose)


@mistake("bpe_train", "merges of the rarest pair, not of the most frequent one")
def train_takes_the_rarest(pieces, counts, n_merges):
    def choose(totals):
        return min(totals, key=lambda pair: (totals[pair], pair))

    return train_with(pieces, counts, n_merges, choose)


@mistake("bpe_train", "the right merges numbered from 257; 256 is the first number that is free")
def train_numbers_from_257(pieces, counts, n_merges):
    merges = train_with(pieces, counts, n_merges, best_pair)
    shift = {new_id: new_id + 1 for new_id in merges.values()}
    return {tuple(shift.get(side, side) for side in pair): new_id + 1 for pair, new_id in merges.items()}


@mistake("bpe_encode", "tokens merged in the order of the text, not in the order of learning")
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


@mistake("bpe_encode", "the longest token that fits, again and again, which is not what training did")
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


@mistake("bpe_encode", "tokens after a single merge")
def encode_merges_once(ids, merges):
    known = [pair for pair in pairwise(ids) if pair in merges]
    if not known:
        return list(ids)
    first = min(known, key=lambda pair: merges[pair])
    return merge(ids, first, merges[first])


@mistake("bpe_encode", "tokens with the merges that were learnt last done first")
def encode_latest_first(ids, merges):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = max(known, key=lambda pair: merges[pair])
        ids = merge(ids, pair, merges[pair])
    return ids


@mistake("bpe_encode", "tokens with the pair merged first that is most frequent, not the one learnt first")
def encode_most_frequent_first(ids, merges):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        times = Counter(known)
        pair = min(known, key=lambda pair: (-times[pair], merges[pair]))
        ids = merge(ids, pair, merges[pair])
    return ids


@mistake("bpe_encode", "tokens with each merge done in one place only")
def encode_each_merge_in_one_place(ids, merges):
    ids = list(ids)
    for pair, new_id in merges.items():
        ids = merge_the_first_only(ids, pair, new_id)
    return ids


@mistake("bpe_encode", "the number of the merge in place of the number of the token")
def encode_gives_merge_numbers(ids, merges):
    ids = list(ids)
    while known := [pair for pair in pairwise(ids) if pair in merges]:
        pair = min(known, key=lambda pair: merges[pair])
        ids = merge(ids, pair, merges[pair])
    return [token - BYTES if token >= BYTES else token for token in ids]


@mistake("bpe_pair_counts", "counts of tokens, not of pairs: how often each left token has a right neighbour")
def counts_of_the_left(pieces, counts):
    totals = {}
    for (left, _), count in count_pairs(pieces, counts).items():
        totals[left, left] = totals.get((left, left), 0) + count
    return totals


@mistake("bpe_pair_counts", "counts of the first pair of each piece only")
def first_pair_only(pieces, counts):
    return count_pairs([ids[:2] for ids in pieces], counts)


@mistake("bpe_pair_counts", "counts multiplied by the length of the piece")
def times_the_length(pieces, counts):
    return count_pairs(pieces, [count * len(ids) for ids, count in zip(pieces, counts, strict=True)])
