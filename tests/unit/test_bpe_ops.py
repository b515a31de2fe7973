"""Check byte pair encoding by properties of every right answer, and by slow definitions.

The specifications, and the encoder of a vocabulary without kernels, are compared with slow definitions on
short pieces of three letters.
"""

from collections import Counter
from itertools import pairwise
from random import Random

from hypothesis import example, given, strategies as st

from tinyllm.ops import bpe
from tinyllm.ops.bpe import BYTES, bpe_merge, bpe_pair_counts
from tinyllm.tokenizer.vocabulary import Vocabulary

NEW = 300
bpe_train, bpe_encode = bpe.bpe_train.reference, bpe.bpe_encode.reference  # without kernels
letters = st.integers(5, 7)
words = st.lists(st.sampled_from((5, 6)) | letters, max_size=8)  # mostly two letters: repeats, overlaps
counted = st.lists(st.tuples(words, st.integers(1, 4)), max_size=5)


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


@given(counted, st.data(), st.tuples(letters, letters))
def test_merging_takes_every_pair_from_left_to_right_and_encoding_retraces_the_training(some, data, pair):
    merges = bpe_train([word for word, _ in some], [count for _, count in some], 9)
    for ids in map(tuple, [*(word for word, _ in some), data.draw(words)]):  # tuples cannot be changed
        assert bpe_merge(ids, pair, NEW) == retrace(ids, {pair: NEW})
        expected = retrace(ids, merges)
        assert bpe_encode(ids, merges) == expected == Vocabulary.from_merges(merges).encode(bytes(ids))


@example([([5, 6, 7], 1)], 20, Random(0))  # rare pairs are joined, too
@given(counted, st.sampled_from((0, 1, 3, 20)), st.randoms())
def test_training_takes_the_best_pair_every_time_in_any_order_of_the_pieces(some, n_merges, random):
    pieces, counts = [word for word, _ in some], [count for _, count in some]
    assert bpe_pair_counts(pieces, counts) == tally(pieces, counts)
    merges, done = bpe_train(pieces, counts, n_merges), {}
    assert list(merges.values()) == list(range(BYTES, BYTES + len(merges)))
    for pair, new_id in merges.items():
        totals = tally([retrace(piece, done) for piece in pieces], counts)
        assert min(totals, key=lambda pair: (-totals[pair], pair)) == pair
        done[pair] = new_id
    assert len(merges) == n_merges or not tally([retrace(piece, done) for piece in pieces], counts)
    random.shuffle(some)
    assert bpe_train([word for word, _ in some], [count for _, count in some], n_merges) == merges
