"""WordPiece and the unigram model, judged without their specifications: all ways to write a word are tried.

The models of files, which are faster, then have to say the same.
"""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.ops.registry import OPS, override
from tinyllm.testing import CASES
from tinyllm.testing.mistakes import MISTAKES
from tinyllm.tokenizer.families.charbpe import CharBPE
from tinyllm.tokenizer.families.unigram import Unigram
from tinyllm.tokenizer.families.wordpiece import WordPiece

WORDS = ["".join(word) for n in range(8) for word in product("ab", repeat=n)]


def segmentations(text):
    """Every way to cut a text into pieces."""
    if not text:
        yield []
    for size in range(1, len(text) + 1):
        for rest in segmentations(text[size:]):
            yield [text[:size], *rest]


# WordPiece: every token is the longest that fits where it begins.

VOCABULARIES = [
    {"a": 0, "##a": 1, "##b": 2, "b": 3},
    {"a": 0, "ab": 1, "aba": 2, "##a": 3, "##b": 4, "##ab": 5, "##ba": 6},
    {"a": 0, "ab": 1, "##ba": 2, "##bb": 3, "b": 4, "##a": 5},
    {"b": 9, "bab": 8, "##a": 7, "##b": 6, "##aab": 5, "abbb": 4, "a": 3},
    {"##a": 0, "##b": 1},
    {},
]


def by_definition(word, vocab, limit):
    """Of all tokens that fit, the longest, again and again."""
    if len(word) > limit:
        return [99]
    ids, rest, mark = [], word, ""
    while rest:
        fitting = {token for token in vocab if (mark + rest).startswith(token) and len(token) > len(mark)}
        fitting = {token for token in fitting if bool(mark) == token.startswith("##")}
        if not fitting:
            return [99]
        token = max(fitting, key=len)
        ids.append(vocab[token])
        rest, mark = (mark + rest)[len(token) :], "##"
    return ids


def is_greedy(encode):
    for word, vocab, limit in product(WORDS, VOCABULARIES, (3, 100)):
        assert encode(word, vocab, "##", 99, limit) == by_definition(word, vocab, limit)


# The unigram model: no way to write the text has a larger sum; of equal ones the last token is the longest.

SCORES = [
    {"a": -1.0, "b": -1.0, "ab": -2.0, "ba": -2.0, "aba": -3.0, "bb": -0.5},
    {"a": -2.0, "b": -1.0, "aa": -3.0, "bab": -2.5, "abab": -4.0},
    {"a": -1.0, "aa": -1.0, "aaa": -1.0, "abb": -2.0},
    {"ab": -1.0, "bab": -20.0},
    {"a": 3.0, "b": 1.0, "ab": 4.0, "bb": 2.0},  # everything ties
    {},
]


def total(tokens, scores, unknown):
    score = 0.0
    for token in tokens:
        if token not in scores and len(token) > 1:
            return None
        score += scores.get(token, unknown)
    return score


def is_the_best(encode):
    for text, scores, unknown in product(WORDS, SCORES, (-10.0, -1.0)):
        got = encode(text, scores, unknown)
        assert "".join(got) == text
        sums = [value for way in segmentations(text) if (value := total(way, scores, unknown)) is not None]
        assert total(got, scores, unknown) == max(sums)


def takes_the_longest_of_equals(encode):
    """At every place where the answer is cut, no other way of the same sum ends in a longer token."""
    for text, scores in product(WORDS, SCORES):
        done = 0
        for token in encode(text, scores, -10.0):
            done += len(token)
            ways = [way for way in segmentations(text[:done]) if total(way, scores, -10.0) is not None]
            best = max(total(way, scores, -10.0) for way in ways)
            assert len(token) == max(len(way[-1]) for way in ways if total(way, scores, -10.0) == best)


PROPERTIES = {
    "wordpiece_encode": [is_greedy],
    "unigram_encode": [is_the_best, takes_the_longest_of_equals],
}


@pytest.mark.parametrize("name, holds", [(name, f) for name, all_ in PROPERTIES.items() for f in all_])
def test_the_specification_has_the_property(name, holds):
    holds(OPS[name].reference)


@pytest.mark.parametrize("name, i", [(name, i) for name in PROPERTIES for i in range(len(MISTAKES[name]))])
def test_a_property_catches_every_mistake(name, i):
    def fails(holds):
        try:
            holds(MISTAKES[name][i][1])
        except (AssertionError, KeyError):
            return True
        return False

    assert any(map(fails, PROPERTIES[name]))


# The models of files.


@given(CASES["wordpiece_encode"])
def test_the_model_of_wordpiece_agrees(args):
    word, vocab, prefix, unknown, limit = args
    assert WordPiece(vocab, unknown, prefix, limit).encode(word) == OPS["wordpiece_encode"](*args)


@given(CASES["unigram_encode"])
def test_the_model_of_unigram_agrees(args):
    text, scores, _ = args
    model = Unigram([("<unk>", 0.0), *scores.items()], 0)
    assert model._best(text) == OPS["unigram_encode"](text, model.scores, model.unknown_score)


def slowly(piece, merges, order):
    """Merge the pair of the smallest rank, of equals the leftmost, until there is none."""
    ids = list(piece)
    while ranks := [(order[p], i) for i, p in enumerate(pairwise(ids)) if p in order]:
        i = min(ranks)[1]
        ids[i : i + 2] = [merges[ids[i], ids[i + 1]]]
    return ids


@given(st.text("▁ab", max_size=12), st.permutations(range(6)))
def test_words_of_a_character_bpe_can_be_encoded_one_by_one(piece, ranks):
    ids = {"▁": 0, "a": 1, "b": 2, "▁a": 3, "ab": 4, "▁▁": 5, "▁ab": 6, "▁▁a": 7, "ba": 8}
    merges = {(0, 1): 3, (1, 2): 4, (0, 0): 5, (3, 2): 6, (0, 3): 7, (2, 1): 8}
    model = CharBPE(ids, merges, dict(zip(merges, ranks, strict=True)))
    parts = model.cut(piece)
    assert "".join(parts) == piece and not any("▁" in part.lstrip("▁") for part in parts)
    got = [i for part in parts for i in model.encode(part)]
    assert got == slowly([ids[c] for c in piece], merges, model.order)
    crossing = CharBPE({**ids, "a▁": 9}, {**merges, (1, 0): 9}, {**model.order, (1, 0): 7})
    assert crossing.cut(piece) == [piece]


def test_unknown_characters_of_a_character_bpe():
    ids = {"<unk>": 0, "a": 1, "b": 2, "<0xC3>": 3, "<0xA9>": 4, "<0xE2>": 5}
    plain = CharBPE(ids, {}, {}, unknown=0)
    assert plain.encode("a??b?") == [1, 0, 0, 2, 0]
    assert CharBPE(ids, {}, {}, unknown=0, fuse_unknown=True).encode("a??b?") == [1, 0, 2, 0]
    assert CharBPE(ids, {}, {}).encode("a??b?") == [1, 2]
    spelt = CharBPE(ids, {}, {}, unknown=0, byte_ids={0xC3: 3, 0xA9: 4, 0xE2: 5})
    assert spelt.encode("é€a") == [3, 4, 0, 1]
    assert spelt.encode("?éa") == [3, 4, 0, 1]  # theirs writes the unknown one when the next known one comes
    assert CharBPE(ids, {}, {}, suffix="</w>").encode("a") == []
    assert CharBPE({"ab": 7}, {}, {}, whole_first=True).encode("ab") == [7]


def test_unknown_characters_of_a_unigram_model():
    vocab = [("<unk>", 0.0), ("a", -1.0), ("<0xC3>", -9.0), ("<0xA9>", -9.0)]
    assert Unigram(vocab, 0).encode("??a?") == [0, 1, 0]
    assert Unigram(vocab, 0, {0xC3: 2, 0xA9: 3}).encode("éa??éa") == [2, 3, 1, 0, 1]
    dear = Unigram([("<unk>", 30.0), ("xy", 30.0)], 0)  # two unknown characters score better than the token
    assert dear.encode("xy") == [1] and dear.encode("xyx") == [0]
    with pytest.raises(UserError, match="no unknown token"):
        Unigram([("a", -1.0)], None).encode("a?")


def test_your_own_functions_run():
    with override(wordpiece_encode=lambda word, vocab, prefix, unknown, max_chars: [7]):
        assert WordPiece({"a": 0}, 1, "##", 100).encode("a") == [7]
    with override(unigram_encode=lambda text, scores, unknown: list(text)):
        assert Unigram([("a", 0.0), ("aa", 0.0)], None).encode("aa") == [0, 0]
    with override(bpe_encode=lambda ids, merges: ids), pytest.raises(UserError, match="order"):
        CharBPE({"a": 0}, {}, {}).encode("a")
