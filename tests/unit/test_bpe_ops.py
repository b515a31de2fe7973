"""Byte pair encoding, judged without its specification: what must be true of any right answer.

Every property runs on all small cases (letters 5 and 6, up to seven of them), so the known mistakes cannot
slip through between random draws. Each property must hold for the specification; each mistake must break one.
"""

import copy
from collections import Counter
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.ops.bpe import BYTES, bpe_encode, bpe_pair_counts, bpe_train
from tinyllm.ops.registry import OPS, override
from tinyllm.testing import MISTAKES
from tinyllm.tokenizer import bpe_fast

NEW = 300


def words(letters, longest):
    """Every sequence of these letters, up to a length."""
    return [list(word) for n in range(longest + 1) for word in product(letters, repeat=n)]


WORDS = words((5, 6), 7)
TEXTS = [  # pieces and how often each occurs: ties, overlaps, empty pieces, rare pieces with frequent pairs
    ([], []),
    ([[]], [3]),
    ([[5]], [1]),
    ([[6, 7], [5, 6]], [1, 1]),
    ([[6, 5], [5, 6]], [2, 2]),
    ([[5, 5, 5, 5, 5, 5, 5]], [1]),
    ([[5, 6, 5, 6, 5], [6, 6, 5]], [1, 2]),
    ([[5, 6], [6, 7], [6, 7, 5]], [5, 1, 1]),
    ([[5, 6, 7, 5, 6], [7, 7, 7, 6], [5, 7], []], [3, 1, 2, 9]),
    ([[5], [6], [5], [6, 7]], [9, 9, 9, 1]),
    *([[word], [1]] for word in words((5, 6), 5)),
]


def letters_of(ids, merges):
    """Take merged tokens apart again, down to the letters."""
    parts = {new_id: pair for pair, new_id in merges.items()}
    ids = list(ids)
    while any(token in parts for token in ids):
        ids = [token for each in ids for token in parts.get(each, (each,))]
    return ids


def tally(pieces, counts):
    """Count pairs the slow and obvious way: write every piece out as often as it occurs."""
    return Counter(
        (piece[i], piece[i + 1])
        for piece, count in zip(pieces, counts, strict=True)
        for _ in range(count)
        for i in range(len(piece) - 1)
    )


def retrace(ids, merges):
    """Apply merges in the order of learning, each by scanning for places that do not overlap."""
    for pair, new_id in merges.items():
        ids, rest = [], list(ids)
        while rest:
            width = 2 if tuple(rest[:2]) == pair else 1
            ids.append(new_id if width == 2 else rest[0])
            rest = rest[width:]
    return list(ids)


# Properties: an implementation -> AssertionError if it is wrong


def counts_what_is_there(count):
    for pieces, counts in [*TEXTS, *(([word], [2]) for word in WORDS)]:
        assert count(pieces, counts) == tally(pieces, counts)


def merge_loses_no_letter(merge):
    for ids, pair in product(WORDS, product((5, 6, 7), repeat=2)):
        merged = merge(list(ids), pair, NEW)
        assert isinstance(merged, list)
        assert letters_of(merged, {pair: NEW}) == ids


def merge_leaves_no_pair(merge):
    for ids, pair in product(WORDS, product((5, 6), repeat=2)):
        merged = merge(list(ids), pair, NEW)
        assert pair not in tally([merged], [1])


def merge_goes_from_left_to_right(merge):
    for ids in WORDS:
        merged = merge(list(ids), (5, 5), NEW)
        assert (5, NEW) not in tally([merged], [1])  # in a run of fives, the odd one stays at the end


def merge_leaves_its_input_alone(merge):
    for ids in WORDS:
        given_ids = list(ids)
        merge(given_ids, (5, 6), NEW)
        assert given_ids == ids


def train_takes_the_best_pair_every_time(train):
    for pieces, counts in TEXTS:
        for n_merges in (0, 1, 2, 3, 20):
            before = copy.deepcopy((pieces, counts))
            merges = train(pieces, counts, n_merges)
            assert (pieces, counts) == before
            assert list(merges.values()) == list(range(BYTES, BYTES + len(merges)))
            done = {}
            for pair, new_id in merges.items():
                totals = tally([retrace(piece, done) for piece in pieces], counts)
                assert pair in totals and totals[pair] == max(totals.values())
                assert not [p for p in totals if totals[p] == totals[pair] and p < pair]
                done[pair] = new_id
            if len(merges) < n_merges:
                assert not tally([retrace(piece, done) for piece in pieces], counts)


def train_does_not_depend_on_order(train):
    for pieces, counts in TEXTS[:9]:
        results = [
            train(*map(list, zip(*order, strict=True)), 6)
            for order in permutations(zip(pieces, counts, strict=True))
            if order
        ]
        assert all(result == results[0] for result in results)


VOCABULARIES = [
    {},
    {(5, 6): 256},
    {(5, 5): 256, (256, 5): 257, (256, 256): 258},
    {(6, 5): 256, (5, 6): 257, (257, 257): 258},
    {(5, 5): 256, (256, 256): 257, (6, 6): 258, (257, 6): 259, (6, 5): 260},
    {(5, 6): 256, (6, 5): 257, (256, 5): 258, (5, 257): 259},
    {(6, 6): 256, (5, 6): 257, (257, 256): 258, (257, 6): 259},
]


def encode_loses_no_letter(encode):
    for ids, merges in product(WORDS, VOCABULARIES):
        assert letters_of(encode(list(ids), merges), merges) == ids


def encode_retraces_the_training(encode):
    for ids, merges in product(WORDS, VOCABULARIES):
        assert encode(list(ids), merges) == retrace(ids, merges)


def encode_leaves_its_input_alone(encode):
    for ids, merges in product(WORDS[:64], VOCABULARIES):
        before = list(ids), dict(merges)
        encode(ids, merges)
        assert (ids, merges) == before


PROPERTIES = {
    "bpe_pair_counts": [counts_what_is_there],
    "bpe_merge": [
        merge_loses_no_letter,
        merge_leaves_no_pair,
        merge_goes_from_left_to_right,
        merge_leaves_its_input_alone,
    ],
    "bpe_train": [train_takes_the_best_pair_every_time, train_does_not_depend_on_order],
    "bpe_encode": [encode_loses_no_letter, encode_retraces_the_training, encode_leaves_its_input_alone],
}
PAIRS = [(name, held) for name, properties in PROPERTIES.items() for held in properties]
WRONG = [(name, words, function) for name in PROPERTIES for words, function in MISTAKES[name]]


@pytest.mark.parametrize("name, held", PAIRS, ids=lambda value: getattr(value, "__name__", value))
def test_the_op_has_the_property(name, held):
    held(OPS[name])


@pytest.mark.parametrize("held", PROPERTIES["bpe_encode"], ids=lambda held: held.__name__)
def test_incremental_encoding_has_the_property(held):
    held(bpe_fast.encode)


@pytest.mark.parametrize("held", PROPERTIES["bpe_train"], ids=lambda held: held.__name__)
def test_incremental_training_has_the_property(held):
    held(bpe_fast.train)


def breaks(held, function):
    try:
        held(function)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name, words, function", WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_every_known_mistake_is_caught(name, words, function):
    assert [held for held in PROPERTIES[name] if breaks(held, function)]


def test_the_mistakes_can_be_plugged_in_and_are_told_apart():
    assert len({words for _, words, _ in WRONG}) == len({function for _, _, function in WRONG}) == len(WRONG)
    for name, _, function in WRONG:
        with override(**{name: function}):
            assert OPS[name].backend == "override"


# The incremental forms against the specification, on more than small cases

pieces_drawn = st.lists(
    st.one_of(
        st.binary(max_size=8),
        st.text("ab", max_size=40).map(str.encode),
        st.text("abc é", max_size=20).map(str.encode),
        st.builds(lambda n: b"a" * n, st.integers(0, 70)),
    ),
    max_size=8,
)


@given(pieces_drawn, st.data(), st.integers(-1, 40))
def test_incremental_training_is_the_specification(pieces, data, n_merges):
    counts = data.draw(st.lists(st.integers(1, 4), min_size=len(pieces), max_size=len(pieces)))
    expected = bpe_train(pieces, counts, n_merges)
    learnt = bpe_fast.train(pieces, counts, n_merges)
    assert list(learnt.items()) == list(expected.items())


@given(pieces_drawn, pieces_drawn, st.integers(0, 40))
def test_incremental_encoding_is_the_specification(pieces, others, n_merges):
    merges = bpe_train(pieces, [1] * len(pieces), n_merges)
    for piece in pieces + others:
        assert bpe_fast.encode(piece, merges) == bpe_encode(piece, merges)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=30), pieces_drawn)
def test_encoding_follows_any_sound_merges(pairs, pieces):
    """Merges from a file need not come from training: a token may never occur, or be spelled in two ways."""
    alphabet = [97, 98]
    merges = {}
    for left, right in pairs:
        new_id = BYTES + len(merges)
        tokens = alphabet + list(merges.values())
        merges.setdefault((tokens[left % len(tokens)], tokens[right % len(tokens)]), new_id)
    for piece in pieces:
        assert bpe_fast.encode(piece, merges) == bpe_encode(piece, merges) == retrace(piece, merges)


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


def test_counts_and_pieces_must_match():
    with pytest.raises(ValueError):
        bpe_pair_counts([b"ab"], [])
    with pytest.raises(ValueError):
        bpe_fast.train([b"ab"], [], 1)


def test_a_plugged_in_op_trains_and_encodes():
    with override(bpe_merge=lambda ids, pair, new_id: [new_id] if len(ids) == 2 else list(ids)):
        assert bpe_fast.train([b"ab", b"abc"], [1, 1], 1) == {(97, 98): 256}
        assert bpe_fast.encode(b"ab", {(97, 98): 256}) == [256]
    with override(bpe_train=lambda pieces, counts, n_merges: {(1, 2): 256}):
        assert bpe_fast.train([b"ab"], [1], 1) == {(1, 2): 256}
    with override(bpe_encode=lambda ids, merges: [7]):
        assert bpe_fast.encode(b"ab", {}) == [7]
