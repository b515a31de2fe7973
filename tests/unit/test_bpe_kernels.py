"""Compare byte pair encoding in C with Python: drawn vocabularies, bytes, patterns, threads.

The specs judge; that `Vocabulary.encode` agrees with them is in test_bpe_ops.py.
"""

import copy
import mmap
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.ops.bpe import bpe_encode, bpe_train
from tinyllm.ops.registry import override, use
from tinyllm.ops.runtime import _compiled, threads
from tinyllm.tokenizer import PATTERNS, BPETokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary

pytestmark = pytest.mark.skipif(_compiled is None, reason="the kernels are not built")

SCRAPS = [b" ", b"\n", b"'s", b" 12345", "é😀".encode(), b"\xff"]
pieces = st.one_of(
    st.binary(max_size=8),
    st.lists(st.sampled_from([b"a", b"ab", b"ba", b"aab", b"abc"]), max_size=60).map(b"".join),
    st.builds(lambda letter, n: letter * n, st.sampled_from([b"a", b"ab", b"abc"]), st.integers(0, 150)),
    st.binary(min_size=9, max_size=20),
)
some_pieces = st.lists(pieces, max_size=8)
texts = st.one_of(
    st.lists(st.one_of(pieces, st.sampled_from(SCRAPS))).map(b"".join),
    st.text().map(str.encode),
)


@given(some_pieces, some_pieces, st.data(), st.integers(-1, 60))
def test_the_kernels_are_the_specification(pieces, others, data, n_merges):
    counts = data.draw(st.lists(st.integers(1, 4), min_size=len(pieces), max_size=len(pieces)))
    merges = _compiled.bpe_train(pieces, counts, n_merges)
    assert list(merges.items()) == list(bpe_train.reference(pieces, counts, n_merges).items())
    for piece in pieces + others:
        assert _compiled.bpe_encode(piece, merges) == bpe_encode.reference(piece, merges)


def encode_pieces(bpe, pieces):
    """Encode pieces that stand in one text, as a list and as an array."""
    pieces = [piece for piece in pieces if piece]
    text, ends = b"".join(pieces), np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    (ids,) = bpe.encode([text], None, [ends])
    (array,) = bpe.encode([text], None, [ends], True)
    assert array.dtype == np.int32 and array.tolist() == ids
    return ids


@st.composite
def vocabularies(draw):
    """Any bytes, aliases (several pairs make one token), any order with ties, tokens that no merge makes."""
    byte_ids = draw(st.permutations(range(256)))
    tokens = [None] * 300
    for byte, i in enumerate(byte_ids):
        tokens[i] = bytes([byte])
    known, merges = [byte_ids[byte] for byte in draw(st.sampled_from([b"abc", "éก".encode()]))], {}
    for left, right in draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=30)):
        pair = known[left % len(known)], known[right % len(known)]
        token = tokens[pair[0]] + tokens[pair[1]]
        if pair in merges or len(token) > 40:
            continue
        alias = token in tokens and draw(st.booleans())
        free = st.sampled_from([i for i, token in enumerate(tokens) if token is None])
        merges[pair] = tokens.index(token) if alias else draw(free)
        tokens[merges[pair]] = token
        known.append(merges[pair])
    ranks = st.lists(st.integers(-9, 30), min_size=len(merges), max_size=len(merges))
    order = draw(st.none() | ranks.map(lambda ranks: dict(zip(merges, ranks, strict=True))))
    whole = draw(st.booleans())
    return Vocabulary(tokens + draw(some_pieces.filter(all)) * whole, byte_ids, merges, order, whole)


@given(vocabularies(), some_pieces, st.integers(0, 2**32))
def test_any_vocabulary_encodes_the_same(vocabulary, pieces, seed):
    rng = random.Random(seed)  # long pieces, of all that the vocabulary knows
    pieces += [bytes(rng.choices(letters, k=150)) for letters in (b"abc", b"ab", "éกa".encode())]
    pieces += ["".join(rng.choices("éกña", k=n)).encode() for n in (9, 20, 150)]
    pieces += [token for token in vocabulary.tokens if token is not None and len(token) > 1]
    bpe = BPETokenizer(vocabulary)._kernel
    expected = [i for piece in pieces if piece for i in vocabulary.encode(piece)]
    assert encode_pieces(bpe, pieces) == encode_pieces(bpe, pieces) == expected  # the second time from memory
    text, decoder = b"".join(pieces), _compiled.Decoder(vocabulary.tokens)
    assert decoder.decode(expected) == decoder.decode(np.array(expected, np.int64)) == text


SAMPLE = "It's 12345 cats' naïve “quotes” \n\n\t and   spaces\r\n, ".encode() + b"\xff\xed\xa0\x80 aaaa"
SAMPLE *= 3


@pytest.mark.parametrize("pattern", [*PATTERNS, PATTERNS["gpt4"], "[ae]+"])
@given(texts, st.integers(1, 3))
def test_tokenizers_are_the_same(pattern, text, n_threads):
    before, both = threads(), [text, text + b"<|end|>" + text, b""]
    try:
        threads(n_threads)
        trained = BPETokenizer.train([SAMPLE, text], 330, pattern, ["<|end|>"])
        ids = [trained.encode_batch(both, allowed) for allowed in ((), "all")]
    finally:
        threads(before)
    with use("numpy"):
        same = BPETokenizer.train([SAMPLE, text], 330, pattern, ["<|end|>"])
        assert list(same.merges) == list(trained.merges)
        assert [same.encode_batch(both, allowed) for allowed in ((), "all")] == ids
    for same in (pickle.loads(pickle.dumps(trained)), copy.deepcopy(trained)):
        assert same.encode(text) == ids[0][0] and same.decode_bytes(ids[0][0]) == text


HOSTILE = [b"a", b"ab", b"abcabdacbbca", "😀😁".encode(), b" ", b"\xf0\x9f\x98", b"the cat's mat 1234 \n",
           b" ".join(b"%x" % (i * i) for i in range(20_000))]


@pytest.mark.parametrize("some", HOSTILE, ids=range(len(HOSTILE)))
def test_threads_and_cuts_change_nothing(some):
    """Texts of three parts of 64 KiB, which threads share, and long pieces."""
    text = (some * (140_000 // len(some) + 1))[:140_000]
    results = []
    before = threads()
    try:
        for n in (1, 2, 3):
            threads(n)
            tokenizer = BPETokenizer.train(text, 600, "gpt4")
            ids = tokenizer.encode_batch([text, text[:-1], b"", text[:7]])
            results.append((tokenizer.merges, ids))
    finally:
        threads(before)
    assert results[0] == results[1] == results[2]
    assert tokenizer.decode_bytes(ids[0]) == text
    short, some = BPETokenizer.train(text[:5000], 400, "gpt4").merges, tokenizer.encode(text[:800])
    with use("numpy"):
        assert BPETokenizer.train(text[:5000], 400, "gpt4").merges == short
        assert tokenizer.encode(text[:800]) == some


def test_long_tokens_are_decoded_and_ids_out_of_range_refused():
    long = BPETokenizer([(97, 97), (256, 256), (257, 257), (258, 258), (259, 259)])
    assert long.decode_bytes([260, 98, 260, 259, 98, 257]) == b"a" * 32 + b"b" + b"a" * 48 + b"baaaa"
    for wrong in (2**31, 2**63, -1, 2**40):
        for ids in ([0, wrong], np.array([0, wrong], np.uint64 if wrong > 0 else np.int64)):
            with pytest.raises((UserError, TypeError), match="token"):
                long.decode_bytes(ids)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64])
def test_any_integers_are_decoded_by_the_kernel(dtype, monkeypatch):
    """Token files hold uint16 and uint32; the way through Python takes many times as long."""
    monkeypatch.setattr(BPETokenizer, "_checked", lambda *_: pytest.fail("not by the kernel"))
    assert BPETokenizer([]).decode_bytes(np.array([104, 105], dtype)) == b"hi"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells here")
def test_a_long_part_leaves_no_memory_behind():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    tokenizer, text = BPETokenizer([], r"[^\n]*\n"), b"a" * 1023 + b"\n"
    tokenizer.encode(text)
    _compiled.empty_pool()
    before = resident()
    assert len(tokenizer.encode_to_numpy(text * 2**14)) == 2**24  # a part of one thread: 64 MB of ids
    _compiled.empty_pool()
    assert resident() - before < 2**25


def test_your_own_splitting_reaches_the_kernels():
    def letters(text, pattern):
        return np.arange(1, len(text) + 1)

    with override(split_pieces=letters):
        assert BPETokenizer.train(b"aaaa", 300).merges == {}
        assert BPETokenizer([(97, 97)]).encode("aa") == [97, 97]
        with use("numpy"):
            assert BPETokenizer([(97, 97)]).encode("aa") == [97, 97]
    assert BPETokenizer([(97, 97)]).encode("aa") == [256]


def test_wrong_arguments_of_the_kernels():
    bpe = _compiled.BPE(range(256), {(97, 98): 256})
    with pytest.raises(UserError, match="not 'words'"):
        bpe.encode([b"a"], "words")
    for ends in ([], [0], [1], [2, 2], [3], [2, 1], [-1, 2]):
        with pytest.raises(ValueError, match="ascend"):
            bpe.encode([b"ab"], None, [np.array(ends, np.int64)])
    with pytest.raises(ValueError, match="larger token"):
        _compiled.bpe_encode(b"ab", {(97, 98): 5})
    with pytest.raises(ValueError, match=r"2\^40"):
        _compiled.bpe_train([b"ab"], [2**41], 1)
    assert _compiled.bpe_train([b"ab", b"bc"], [2**33, 2**33 + 1], 1) == {(98, 99): 256}
