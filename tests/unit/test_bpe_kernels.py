"""Compare byte pair encoding in C with Python on random vocabularies and bytes, all patterns, any threads.

test_ops.py compares the two kernels of ops with their specifications, and test_bpe_ops.py compares
`Vocabulary.encode` with these specifications.
"""

import copy
import mmap
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tinyllm.ops.registry import use
from tinyllm.ops.runtime import _compiled, threads
from tinyllm.tokenizer import PATTERNS, BPETokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary, as_columns

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


@st.composite
def vocabularies(draw):
    """Draw vocabularies: any ids of bytes, aliases (pairs that make one token), unmerged tokens."""
    byte_ids = draw(st.permutations(range(256)))
    tokens = {i: bytes([byte]) for byte, i in enumerate(byte_ids)}
    known, merges = [byte_ids[byte] for byte in draw(st.sampled_from([b"abc", "éก".encode()]))], {}
    for left, right in draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=30)):
        pair = known[left % len(known)], known[right % len(known)]
        token = tokens[pair[0]] + tokens[pair[1]]
        if pair in merges or len(token) > 40:
            continue
        alias = [i for i in tokens if tokens[i] == token] if draw(st.booleans()) else []
        free = [i for i in range(300) if i not in tokens]
        merges[pair] = draw(st.sampled_from(alias or free))
        tokens[merges[pair]] = token
        known.append(merges[pair])
    merges = dict(draw(st.permutations(list(merges.items()))))  # in any order
    whole = draw(st.booleans())
    more = draw(some_pieces.filter(all)) * whole
    return Vocabulary(tokens | dict(enumerate(more, 300)), byte_ids, as_columns(merges), whole)


@given(vocabularies(), some_pieces, st.integers(0, 2**32))
def test_any_vocabulary_encodes_the_same(vocabulary, pieces, seed):
    rng = random.Random(seed)  # long pieces of bytes that merges join
    pieces += [bytes(rng.choices(letters, k=150)) for letters in (b"abc", b"ab", "éกa".encode())]
    pieces += ["".join(rng.choices("éกña", k=n)).encode() for n in (9, 20, 150)]
    pieces += [token for token in vocabulary.tokens.values() if len(token) > 1]
    tokenizer, text = BPETokenizer(vocabulary), b" ".join(pieces)
    expected = [i for piece in tokenizer.pieces(text) for i in vocabulary.encode(piece)]
    assert tokenizer.encode(text) == expected == tokenizer.encode(text)  # the second time from the cache
    assert tokenizer.encode_to_numpy(text).tolist() == expected and tokenizer.decode_bytes(expected) == text


SAMPLE = "It's 12345 cats' naïve “quotes” \n\n\t and   spaces\r\n, ".encode() + b"\xff\xed\xa0\x80 aaaa"
SAMPLE *= 3


@pytest.mark.parametrize("pattern", PATTERNS)
@given(texts, st.integers(1, 3))
def test_tokenizers_are_the_same(pattern, text, n_threads):
    both = [text, text + b"<|end|>" + text, b""]
    threads(n_threads)
    trained = BPETokenizer.train([SAMPLE, text], 330, pattern, ["<|end|>"])
    ids = [trained.encode_batch(both, allowed) for allowed in ((), "all")]
    with use("numpy"):
        same = BPETokenizer.train([SAMPLE, text], 330, pattern, ["<|end|>"])
        assert list(same.merges) == list(trained.merges)
        assert [same.encode_batch(both, allowed) for allowed in ((), "all")] == ids
    for twin in (pickle.loads(pickle.dumps(trained)), copy.deepcopy(trained)):
        assert twin.encode_batch(both) == ids[0] and twin.decode_bytes(ids[0][0]) == text


HOSTILE = [b"a", b"ab", b"abcabdacbbca", "😀😁".encode(), b" ", b"\xf0\x9f\x98", b"the cat's mat 1234 \n",
           b" ".join(b"%x" % (i * i) for i in range(20_000))]


@pytest.mark.parametrize("some", HOSTILE, ids=range(len(HOSTILE)))
def test_threads_and_cuts_change_nothing_on_long_and_huge_pieces(some):
    """Texts have three parts of 64 KiB, which threads share; the specification is too slow for them."""
    text = (some * (140_000 // len(some) + 1))[:140_000]
    results = []
    for n in (1, 2, 3):
        threads(n)
        tokenizer = BPETokenizer.train(text, 600, "gpt4")
        results.append((tokenizer.merges, tokenizer.encode_batch([text, text[:-1], b"", text[:7]])))
    assert results[0] == results[1] == results[2]
    assert tokenizer.decode_bytes(results[0][1][0]) == text


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells here")
def test_a_long_part_leaves_no_memory_behind():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    tokenizer = BPETokenizer([])
    tokenizer.encode(b"a" * 2**16)
    _compiled.empty_pool()
    before = resident()
    assert len(tokenizer.encode_to_numpy(b"a" * 2**23)) == 2**23  # one part: 32 MB of ids
    _compiled.empty_pool()
    assert resident() - before < 2**24


def test_wrong_arguments_of_the_kernels():
    with pytest.raises(ValueError, match="larger token"):
        _compiled.bpe_encode(b"ab", {(97, 98): 5})
    assert _compiled.bpe_train([b"ab", b"bc"], [2**33, 2**33 + 1], 1) == {(98, 99): 256}
