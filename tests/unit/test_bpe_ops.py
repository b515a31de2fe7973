"""Check byte pair encoding without its specification: what holds of any right answer.

The specifications, and the encoder of a vocabulary without kernels, run on all small cases (letters 5 and 6,
up to seven of them) beside a slow definition of what is right.
"""

from collections import Counter
from itertools import pairwise, permutations, product

from tinyllm.ops.bpe import BYTES, bpe_encode, bpe_merge, bpe_pair_counts, bpe_train
from tinyllm.tokenizer.vocabulary import Vocabulary

NEW = 300
WORDS = [list(word) for n in range(8) for word in product((5, 6), repeat=n)]
TEXTS = [  # pieces and how often each occurs: ties, overlaps, empty pieces, rare pieces with frequent pairs
    ([], []),
    ([[6, 7], [5, 6]], [1, 1]),
    ([[6, 5], [5, 6]], [2, 2]),
    ([[5, 6, 5, 6, 5], [6, 6, 5]], [1, 2]),
    ([[5, 6], [6, 7], [6, 7, 5]], [5, 1, 1]),
    ([[5, 6, 7, 5, 6], [7, 7, 7, 6], [5, 7], []], [3, 1, 2, 9]),
    ([[5], [6], [5], [6, 7]], [9, 9, 9, 1]),
    *([[word], [2]] for word in WORDS),
]
VOCABULARIES = [
    {},
    {(5, 5): 256, (256, 5): 257, (256, 256): 258},
    {(6, 5): 256, (5, 6): 257, (257, 257): 258},
    {(5, 5): 256, (256, 256): 257, (6, 6): 258, (257, 6): 259, (6, 5): 260},
    {(5, 6): 256, (6, 5): 257, (256, 5): 258, (5, 257): 259},
    {(6, 6): 256, (5, 6): 257, (257, 256): 258, (257, 6): 259},
]


def tally(pieces, counts):
    """Count pairs the slow and obvious way: write every piece out as often as it occurs."""
    written = [piece for piece, count in zip(pieces, counts, strict=True) for _ in range(count)]
    return Counter(pair for piece in written for pair in pairwise(piece))


def retrace(ids, merges):
    """Apply merges in the order of learning, each by scanning for places that do not overlap."""
    for pair, new_id in merges.items():
        ids, rest = [], list(ids)
        while rest:
            width = 2 if tuple(rest[:2]) == pair else 1
            ids.append(new_id if width == 2 else rest[0])
            rest = rest[width:]
    return list(ids)


def test_merging_takes_every_pair_from_left_to_right_and_encoding_retraces_the_training():
    for ids in map(tuple, WORDS):  # which no function can change
        for pair in product((5, 6, 7), repeat=2):
            assert bpe_merge(ids, pair, NEW) == retrace(ids, {pair: NEW})
        for merges in VOCABULARIES:
            expected = retrace(ids, merges)
            assert bpe_encode(ids, merges) == expected == Vocabulary.from_merges(merges).encode(bytes(ids))


def test_training_takes_the_best_pair_every_time():
    for (pieces, counts), n_merges in product(TEXTS, (0, 1, 3, 20)):
        assert bpe_pair_counts(pieces, counts) == tally(pieces, counts)
        merges, done = bpe_train(pieces, counts, n_merges), {}
        assert list(merges.values()) == list(range(BYTES, BYTES + len(merges)))
        for pair, new_id in merges.items():
            totals = tally([retrace(piece, done) for piece in pieces], counts)
            assert min(totals, key=lambda pair: (-totals[pair], pair)) == pair
            done[pair] = new_id
        assert len(merges) == n_merges or not tally([retrace(piece, done) for piece in pieces], counts)
        for order in permutations(zip(pieces, counts, strict=True)) if 0 < len(pieces) < 4 else ():
            assert bpe_train(*map(list, zip(*order, strict=True)), n_merges) == merges


def test_training_on_a_worked_example():
    """The words of Sennrich et al. 2016, worked by hand; "lower" is new and falls into "low" and "er"."""
    e, ell, n, o, r, w = b"elnorw"
    merges = bpe_train([b"low", b"lowest", b"newer", b"wider"], [5, 2, 6, 3], 5)
    assert merges == {
        (e, r): 256,  # 6 + 3; the next best is "lo" with 5 + 2, and "ow", which is larger
        (ell, o): 257,
        (257, w): 258,
        (e, w): 259,  # 6, as are "ne" and "w" + "er"
        (n, 259): 260,
    }
    assert bpe_encode(b"lower", merges) == [258, 256]
