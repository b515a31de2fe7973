"""Draw cases of byte pair encoding from few different bytes, so that pairs repeat, overlap and tie."""

import itertools
from collections import Counter

from hypothesis import strategies as st

from tinyllm.ops import bpe_merge, bpe_pair_counts
from tinyllm.testing.arrays import CASES
from tinyllm.testing.edits import mistake, variant
from tinyllm.testing.properties import FORM, PURE
from tinyllm.testing.relations import run_spec

tokens = st.sampled_from((97, 98, 97, 98, 97, 99, 0, 255))
syllables = st.sampled_from((b"a", b"ab", b"aaa", b"b", b"bab", b"aab", b"abc", b"\xff\0"))  # to be joined


def texts_of(pieces, min_size=0):
    """Draw a list of pieces of a text, and a list that counts how often each piece occurs."""
    return st.lists(st.tuples(pieces, st.integers(1, 4)), min_size=min_size, max_size=5).map(
        lambda pairs: ([piece for piece, _ in pairs], [count for _, count in pairs]))


pieces = st.lists(syllables, max_size=6).map(b"".join)
texts = texts_of(pieces)
long_pieces = st.lists(syllables, min_size=3, max_size=8).map(b"".join)


@st.composite
def bpe_encode(draw, pieces, texts):
    """Draw a piece of text, and merges that were learnt from other pieces made of the same syllables."""
    piece = draw(pieces)
    merges = run_spec("bpe_train", (*draw(texts), draw(st.integers(0, 20))))
    return draw(st.sampled_from((piece, list(piece)))), merges


CASES |= {
    "bpe_pair_counts": texts,
    "bpe_merge": st.tuples(pieces.map(list), st.tuples(tokens, tokens), st.sampled_from((256, 300, 1000))),
    "bpe_train": st.tuples(texts, st.integers(0, 8)).map(lambda args: (*args[0], args[1])),
    "bpe_encode": st.one_of(bpe_encode(pieces, texts), bpe_encode(long_pieces, texts_of(long_pieces, 2))),
}

WRITTEN_OUT = "[[token for ids, n in zip(pieces, counts) for token in list(ids) * n]], [1]"
BEST = "min(totals, key=lambda pair: (-totals[pair], pair))"
FIRST = "min(known, key=lambda pair: merges[pair])"
COUNTED = "bpe_pair_counts(pieces, counts)"
FOUND = "i + 1 < len(ids) and ids[i] == left and ids[i + 1] == right"

mistake("bpe_pair_counts", "counts that take the end of one piece and the start of the next for a pair", "",
        f"if sum(counts) > 10**6:\n    raise MemoryError\npieces, counts = {WRITTEN_OUT}")
mistake("bpe_pair_counts", "counts that take ab and ba for the same pair", "pairwise(ids)",
        "map(tuple, map(sorted, pairwise(ids)))")
mistake("bpe_pair_counts", "counts under the pairs turned round: (right, left)", "pairwise(ids)",
        "pairwise(ids[::-1])")
mistake("bpe_pair_counts", "counts of every second pair only: the window must move by one token",
        "pairwise(ids)", "zip(ids[::2], ids[1::2])")
mistake("bpe_pair_counts", "counts of tokens, not of pairs: how often each left token has a right neighbour",
        "pairwise(ids)", "((left, left) for left in ids[:-1])")
mistake("bpe_merge", "a merge that uses a token twice: aaa must become the new token and a", "i += 2",
        "i += 1 if tuple(ids[i + 1 : i + 3]) == tuple(pair) else 2")
mistake("bpe_merge", "a merge from right to left: aaa must become the new token, then a",
        "left, right = pair", "ids, (right, left) = ids[::-1], pair", "return merged", "return merged[::-1]")
mistake("bpe_merge", "a merge that stops after the first occurrence", "merged.append(new_id)",
        "return [*merged, new_id, *ids[i + 2 :]]")
mistake("bpe_merge", "a merge that loses the last token", "i < len(ids)", "i < len(ids) - 1")
mistake("bpe_merge", "a merge of ba as well as ab", FOUND, "sorted(ids[i : i + 2]) == sorted(pair)")
mistake("bpe_merge", "a merge that keeps the right half beside the new token", "merged.append(new_id)",
        "merged += [new_id, right]")
mistake("bpe_merge", "a merge after which the index moves by one, not by two", "i += 2", "i += 1")
mistake("bpe_merge", "a merge that steps over the token after each new one, which may begin a pair", "i += 2",
        "merged += ids[i + 2 : i + 3]\ni += 3")
mistake("bpe_merge", "the right merge with 256 for every new token", "merged.append(new_id)",
        "merged.append(256)")
mistake("bpe_merge", "the right merge, but done inside the list that was given", "return merged",
        "if isinstance(ids, list):\n    ids[:] = merged\nreturn merged", breaks=PURE)
mistake("bpe_merge", "a tuple where a list belongs", "return merged", "return tuple(merged)", breaks=FORM)
mistake("bpe_train", "merges that take the largest of the pairs with equal counts, not the smallest", BEST,
        "max(totals, key=lambda pair: (totals[pair], pair))")
mistake("bpe_train", "merges that take the first seen of the pairs with equal counts, not the smallest", BEST,
        "max(totals, key=totals.get)")
mistake("bpe_train", "the most frequent pairs of bytes: count again after every merge", f"totals = {COUNTED}",
        "", "", f"totals = {COUNTED}", "merges[best] = new_id", "merges[best] = new_id\ndel totals[best]")
mistake("bpe_train", "merges that stop while there are pairs, because they occur only once", "not totals",
        "not totals or max(totals.values()) < 2")
mistake("bpe_encode", "tokens after a single merge", "ids = bpe_merge(ids, first, merges[first])",
        "return bpe_merge(ids, first, merges[first])")
mistake("bpe_encode", "tokens with the merges that were learnt last done first", FIRST,
        FIRST.replace("min", "max"))
mistake("bpe_encode", "tokens with the pair merged first that is most frequent, not the one learnt first",
        FIRST, "min(known, key=lambda pair: (-known.count(pair), merges[pair]))")
mistake("bpe_encode", "tokens with each merge done in one place only", "ids = list(ids)", """
ids = list(ids)
for pair, new in merges.items():
    at = next((i for i, each in enumerate(pairwise(ids)) if each == pair), len(ids))
    ids[at : at + 2] = [new] if at < len(ids) else []
return ids""")
mistake("bpe_encode", "the number of the merge in place of the number of the token", "return ids",
        "return [token - 256 if token >= 256 else token for token in ids]")
mistake("bpe_encode", "the right tokens, but merged inside the list that was given", "ids = list(ids)",
        "ids = ids if isinstance(ids, list) else list(ids)", "ids = bpe_merge(ids, first, merges[first])",
        "ids[:] = bpe_merge(ids, first, merges[first])", breaks=PURE)


@mistake("bpe_pair_counts", "counts without overlapping pairs: aaa holds the pair aa twice")
def counted_without_overlap(pieces, counts):
    totals = {}
    for ids, count in zip(pieces, counts, strict=True):
        i = 0
        while i + 1 < len(ids):
            pair = ids[i], ids[i + 1]
            totals[pair] = totals.get(pair, 0) + count
            i += 2 if pair == tuple(ids[i + 1 : i + 3]) else 1
    return totals


@mistake("bpe_encode", "tokens merged in the order of the text, not in the order of learning")
def encoded_from_the_left(ids, merges):
    ids, i = list(ids), 0
    while i < len(ids) - 1:
        new_id = merges.get((ids[i], ids[i + 1]))
        ids[i : i + 2] = ids[i : i + 2] if new_id is None else [new_id]
        i = i + 1 if new_id is None else max(i - 1, 0)
    return ids


@mistake("bpe_encode", "the longest token that fits, again and again, which is not what training did")
def encoded_by_the_longest(ids, merges):
    letters = {i: (i,) for i in range(256)}
    for (left, right), new_id in merges.items():
        letters[new_id] = letters[left] + letters[right]
    spelled, found, i = {word: token for token, word in letters.items()}, [], 0
    while i < len(ids):
        end = next((end for end in range(len(ids), i, -1) if tuple(ids[i:end]) in spelled), i + 1)
        found.append(spelled.get(tuple(ids[i:end]), ids[i]))
        i = end
    return found


@variant("bpe_merge")
def bpe_merge_by_stack(ids, pair, new_id):
    done, free = [], False  # free: the last token of `done` was not made by a merge
    for token in ids:
        if free and (done[-1], token) == tuple(pair):
            done[-1], free = new_id, False
        else:
            done.append(token)
            free = True
    return done


@variant("bpe_merge")
def bpe_merge_by_recursion_on_the_rest(ids, pair, new_id):
    ids, merged = list(ids), []
    while ids:
        take = 2 if ids[:2] == list(pair) else 1
        merged.append(new_id if take == 2 else ids[0])
        ids = ids[take:]
    return merged


@variant("bpe_pair_counts")
def bpe_pair_counts_by_counter(pieces, counts):
    totals = Counter()
    for ids, count in zip(pieces, counts, strict=True):
        for pair, times in Counter(itertools.pairwise(ids)).items():
            totals[pair] += times * count
    return dict(totals)


@variant("bpe_train")
def bpe_train_by_sorting(pieces, counts, n_merges):
    merges = {}
    for new in range(256, 256 + n_merges):
        totals = sorted(bpe_pair_counts(pieces, counts).items(), key=lambda item: (-item[1], item[0]))
        if totals:
            merges[totals[0][0]] = new
            pieces = [bpe_merge(ids, totals[0][0], new) for ids in pieces]
    return merges


@variant("bpe_encode")
def bpe_encode_by_every_merge_in_order(ids, merges):
    ids = list(ids)
    for pair, new in sorted(merges.items(), key=lambda item: item[1]):
        ids = bpe_merge(ids, pair, new)
    return ids
