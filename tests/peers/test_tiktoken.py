"""Run tiktoken's tests of encodings and offsets, with tiktoken beside, on ranks that are learnt here.

github.com/openai/tiktoken, tests/test_encoding.py, test_offsets.py and test_pickle.py; written here.
tiktoken's own ranks would have to be downloaded, so ids are not written down, but compared with tiktoken's.

By design other than there:
* A name of a special token that is not allowed is ordinary text; tiktoken raises ValueError. A user could
  stop a program by typing one.
* A pair of surrogates in a str stays two surrogates, six bytes that come back as they were; tiktoken makes
  one character of it. A lone surrogate comes back too; tiktoken writes U+FFFD.
* Bytes that are not UTF-8 are encoded as they are; `_encode_bytes` guesses how an unfinished text goes on.
"""

import pickle

import pytest
from foreign_tokenizers import write_ranks
from hypothesis import example, given
from hypothesis import strategies as st

from tinyllm.tokenizer import PATTERNS, BPETokenizer, load_tokenizer

tiktoken = pytest.importorskip("tiktoken")
SPECIAL = ("<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>")
TEXT = """hello world, today is the day: don't you think it's 0123456789 o'clock? I'll say 1,000,000 times no.
Привет, мир! 你好,世界。안녕하세요! नमस्ते ¿Qué tal? Ça va? 👍🏽 😀😀 \t\t    \n\n\r\n
if x == 0:\n        return ["^", "s"]
""" * 3


@pytest.fixture(scope="module", params=["gpt2", "gpt4", "o200k"])
def pair(request, tmp_path_factory):
    """A tokenizer that was read from a rank file, and tiktoken's with the same ranks."""
    path = tmp_path_factory.mktemp("ranks") / "learnt.tiktoken"
    ranks = BPETokenizer.train(TEXT, 600, request.param).vocabulary.ids
    write_ranks(path, ranks)
    special = {name: len(ranks) + 5 * i for i, name in enumerate(SPECIAL)}
    theirs = tiktoken.Encoding("learnt", pat_str=PATTERNS[request.param], mergeable_ranks=ranks,
                               special_tokens=special)
    return load_tokenizer(path, request.param, special), theirs


def same(pair, text):
    """Encode with both, and check that the ids are equal and come back as the text."""
    ours, theirs = pair
    ids = ours.encode(text)
    assert ids == theirs.encode(text, disallowed_special=())
    assert ours.decode(ids) == theirs.decode(ids) == text


@pytest.mark.parametrize("text", [
    "hello world", "goodbye world", "", "0", "today\n ", "today\n \n", "today\n  \n", "rer", "'rer", " !!!",
    "Hey there", "\x850", "👍", "こんにちは", "請考試我的軟件!12345", "\u2028\u00a0 x",
    "I'm hungry. I'M HUNGRY. I ate 123,456 pies!",
])
def test_texts_that_tiktoken_tests(pair, text):
    same(pair, text)


@pytest.mark.parametrize("text", ["0", "^", "a", "'s", " ", "\n"])
def test_repeated(pair, text):
    for n in (*range(1, 18), 10_000):
        same(pair, text * n)
    for big in (" " + text * 10_000, text * 10_000 + "\n"):
        same(pair, big)


def test_each_token_alone(pair):
    ours, theirs = pair
    for i in range(theirs.n_vocab):
        try:
            data = theirs.decode_single_token_bytes(i)
        except KeyError:
            with pytest.raises(Exception, match="leaves that id free"):
                ours.decode_bytes([i])
            continue
        assert ours.decode_bytes([i]) == data
        if list(ours.pieces(data)) == [data]:  # else the pattern, or a broken character, parts it
            assert ours.encode(data) == [i]


words = st.sampled_from((*SPECIAL, "hello", " world", "请", "👍"))


@given(text=st.one_of(st.text(), st.lists(words).map("".join)), allowed=st.sets(st.sampled_from(SPECIAL)))
@example(text="<|endoftext|> hello <|fim_prefix|> there <|fim_middle|>", allowed={SPECIAL[0]})
def test_any_text_with_any_special_tokens(pair, text, allowed):
    ours, theirs = pair
    same(pair, text)
    assert ours.encode_batch([text, "a"]) == theirs.encode_ordinary_batch([text, "a"])
    assert ours.encode(text, allowed) == theirs.encode(text, allowed_special=allowed, disallowed_special=())
    ids = ours.encode(text, "all")
    decoded, starts = theirs.decode_with_offsets(ids)
    places = ours.offsets(text, "all")
    assert decoded == text and [start for start, _ in places] == starts
    for (start, end), token in zip(places, theirs.decode_tokens_bytes(ids), strict=True):
        assert token in text[start:end].encode()


@given(data=st.binary())
def test_any_bytes_come_back(pair, data):
    ours, theirs = pair
    ids = pickle.loads(pickle.dumps(ours)).encode(data)
    assert ours.encode(data) == ids and ours.decode_bytes(ids) == theirs.decode_bytes(ids) == data
    assert ours.decode(ids) == theirs.decode(ids)


def test_surrogates_stay_what_they_are(pair):
    ours, theirs = pair
    assert ours.encode("👍") == theirs.encode("👍") == theirs.encode("\ud83d\udc4d")
    for text in ("\ud83d\udc4d", "\ud83d", "a\udc4d"):
        assert ours.decode(ours.encode(text), "surrogatepass") == text
