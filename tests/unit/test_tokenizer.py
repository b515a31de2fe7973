"""Check that tokenizers lose no text, and find special tokens only where they are asked to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_texts import SPECIAL, TEXT, any_bytes, any_text

from tinyllm.errors import UserError
from tinyllm.ops.registry import override, use
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, CharTokenizer, make_tokenizer, save_tokenizer
from tinyllm.tokenizer.vocabulary import Vocabulary

SHIFTED = [(i + 7) % 256 for i in range(256)]  # the id of each byte in a vocabulary from elsewhere
A, B, C = (SHIFTED[ord(letter)] for letter in "abc")
MERGES = {(A, B): 305, (B, C): 303, (305, C): 300, (A, 303): 300, (300, 300): 309, (A, A): 301}


def foreign(merges, order=None, ignore_merges=False):
    """A vocabulary with shifted bytes and these merges; ids that no merge makes are free."""
    tokens = [None] * 310
    for byte, i in enumerate(SHIFTED):
        tokens[i] = bytes([byte])
    for (left, right), made in merges.items():
        tokens[made] = tokens[left] + tokens[right]
    return Vocabulary(tokens, SHIFTED, merges, order, ignore_merges)


TOKENIZERS = {
    "byte": ByteTokenizer(SPECIAL),
    "char": CharTokenizer.train(TEXT + "\ud83d\ude00\udc80\udcff" + "".join(SPECIAL), SPECIAL),
    "gpt2": BPETokenizer.train(TEXT, 400, special_tokens=SPECIAL),
    "gpt4": BPETokenizer.train(TEXT, 400, "gpt4", SPECIAL),
    "own": BPETokenizer.train(TEXT, 400, "[ae]+", SPECIAL),
    "foreign": BPETokenizer(foreign(MERGES), "gpt2", dict(zip(SPECIAL, (306, 307, 260, 400), strict=True))),
}
EVERY = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
OF_BYTES = {name: tokenizer for name, tokenizer in TOKENIZERS.items() if name != "char"}
BYTES = pytest.mark.parametrize("tokenizer", OF_BYTES.values(), ids=OF_BYTES)
byte = TOKENIZERS["byte"]


def fitting(tokenizer, text):
    """The characters of a text that a tokenizer knows."""
    return "".join(c for c in text if c in tokenizer._characters) if tokenizer.kind == "char" else text


# Laws


@EVERY
@given(any_text, st.sets(st.sampled_from(SPECIAL)))
def test_every_str_comes_back_and_only_allowed_names_are_special(tokenizer, text, allowed):
    text = fitting(tokenizer, text)
    special = set(tokenizer.special_tokens.values())
    for names in ((), allowed):
        ids = tokenizer.encode(text, names)
        assert tokenizer.decode(ids) == text
        found = special & set(ids)
        assert found <= {tokenizer.special_tokens[name] for name in names}
        assert bool(found) == any(name in text for name in names)
        rest = tokenizer.decode([i if i not in found else 0 for i in ids])
        assert not any(name in rest for name in names)
        array, batch = tokenizer.encode_to_numpy(text, names), tokenizer.encode_batch([text, ""], names)
        assert array.dtype == np.int32 and array.tolist() == ids and batch == [ids, []]
        with use("numpy"):
            assert tokenizer.encode(text, names) == ids and tokenizer.decode(ids) == text
    assert tokenizer.encode(text, "all") == tokenizer.encode(text, SPECIAL)


@BYTES
@given(any_text, any_bytes)
def test_every_byte_string_comes_back(tokenizer, text, data):
    encoded = text.encode("utf-8", "surrogatepass")
    data = encoded + data
    ids = tokenizer.encode(data)
    assert tokenizer.decode_bytes(ids) == data and tokenizer.encode(text) == tokenizer.encode(encoded)
    assert tokenizer.encode(bytearray(data)) == tokenizer.encode(memoryview(data)) == ids
    for errors in ("ignore", "backslashreplace", "surrogateescape"):
        assert tokenizer.decode(ids, errors) == data.decode("utf-8", errors)
    broken = [*ids, *tokenizer.encode(b"\xff")]
    assert tokenizer.decode(broken, "replace") == (data + b"\xff").decode("utf-8", "replace")
    with pytest.raises(UnicodeDecodeError):
        tokenizer.decode(broken, "strict")
    if isinstance(tokenizer, BPETokenizer):
        pieces = list(tokenizer.pieces(data))
        assert b"".join(pieces) == data and all(pieces)
        assert [i for piece in pieces for i in tokenizer.vocabulary.encode(piece)] == ids


@EVERY
def test_ids_come_in_many_shapes(tokenizer):
    array = tokenizer.encode_to_numpy(TEXT)
    assert all(type(i) is int for i in tokenizer.encode(TEXT))
    for ids in (array.astype(np.uint16), array.repeat(2)[::2], tuple(array), iter(array.tolist())):
        assert tokenizer.decode(ids) == TEXT
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == tokenizer.decode(iter(())) == ""
    assert tokenizer.encode_to_numpy("", "all").dtype == np.int32
    for ids in ([-1], [tokenizer.vocab_size], [0, 2**40], np.array([2**63], np.uint64)):
        with pytest.raises(UserError, match="there is no token"):
            tokenizer.decode(ids)
    for ids in ([1.5], [2**64], ["a"], [[1, 2]], array[None]):
        with pytest.raises((TypeError, ValueError), match=r"whole numbers|row by row"):
            tokenizer.decode(ids)


def test_every_character_and_every_two_bytes_come_back():
    everything = "".join(map(chr, range(0x110000)))
    pairs = bytes(b for first in range(256) for second in range(256) for b in (first, second))
    assert byte.decode(byte.encode_to_numpy(everything)) == everything
    everything = everything[:0x3000] + everything[0x3000::41]  # all of it takes ten seconds
    char = CharTokenizer.train(everything)
    assert char.vocab_size == len(everything)
    for tokenizer in (char, TOKENIZERS["gpt2"], TOKENIZERS["gpt4"]):
        assert tokenizer.decode(tokenizer.encode_to_numpy(everything)) == everything
    for tokenizer in OF_BYTES.values():
        assert tokenizer.decode_bytes(tokenizer.encode_to_numpy(pairs)) == pairs


# By example


@pytest.mark.parametrize("call, problem", [
    (lambda: CharTokenizer(["a"]).encode("aé"), r"'é' \(U\+00E9\)"),
    (lambda: CharTokenizer(["a"]).encode("A\U0010ffff"), r"'A' \(U\+0041\)"),
    (lambda: CharTokenizer(["a"]).encode(b"a\xff"), r"byte 1 is 0xff.*byte or bpe"),
    (lambda: CharTokenizer.train(b""), "empty"),
    *((lambda wrong=wrong: CharTokenizer(wrong), "characters")
      for wrong in (["a", "a"], ["b", "a"], ["ab"], [""], [1])),
    (lambda: byte.encode("text", allowed_special={"nobody"}), "no special token 'nobody'"),
    *((lambda names=names: ByteTokenizer(names), problem) for names, problem in (
        (["a", "a"], "twice"), ([""], "not ''"), ([3], "not 3"), (["\ud800"], "whole characters"))),
    (lambda: ByteTokenizer({"<e>": 97}), "'<e>' cannot have the id 97, which is taken"),
    *((lambda i=i: ByteTokenizer({"<e>": i}), "special token '<e>'") for i in (-1, 2**40, True, "x")),
    (lambda: TOKENIZERS["foreign"].decode([300, 302]), "token 302: this vocabulary leaves that id free"),
    (lambda: BPETokenizer([[97, 97], *([256 + i] * 2 for i in range(40))]), "64 MB"),
    (lambda: BPETokenizer([[97, 256]]), "0 to 255"), (lambda: BPETokenizer([(97, 97)] * 2), "twice"),
    *((lambda spec=spec: make_tokenizer(spec, b"\xff"), problem) for spec, problem in (
        ("bpe", "bpe:4096"), ("bpe:x", "bpe:4096"), ("bpe:" + "9" * 99, "bpe:4096"), ("bpe:3", "too small"),
        ("words", "char, word"), ("", "char, word"), ("char", "not UTF-8"))),
])
def test_what_does_not_fit_is_refused_by_name(call, problem):
    with pytest.raises(UserError, match=problem):
        call()


def test_special_tokens_by_example():
    end, longer, user, e = (byte.special_tokens[name] for name in SPECIAL)
    assert [end, longer, user, e] == list(range(byte.vocab_size - 4, byte.vocab_size))
    assert byte.encode("<|end|><|user|>", "all") == [end, user]
    assert byte.encode("<|end|>>", {"<|end|>", "<|end|>>"}) == [longer]  # the longest name wins
    assert byte.encode("<|end|>>", {"<|end|>"}) == [end, ord(">")]
    assert byte.encode(b"\xc3\xc3\xa9\xa9", "all") == [0xC3, e, 0xA9]  # found between broken bytes
    assert byte.encode_batch(["<|end|>", "é"], ["é"])[1] == [e]
    more = ByteTokenizer(["a"])
    assert more.decode([256]) == "a"  # now the kernels' decoder is made
    more.add_special_tokens(["a", "b"])
    assert more.special_tokens == {"a": 256, "b": 257} and more.decode([256, 257]) == "ab"


def test_names_of_special_tokens_are_a_list():
    for wrong in (lambda: byte.encode("text", allowed_special="<|end|>"), lambda: ByteTokenizer("<|end|>"),
                  lambda: BPETokenizer.train(TEXT, 300, special_tokens="<|end|>"),
                  lambda: BPETokenizer.train(TEXT, 300, special_tokens={"<|end|>": 500})):  # not to be kept
        with pytest.raises(TypeError, match=r"<\|end\|>"):
            wrong()


def test_vocabularies_from_elsewhere():
    tokenizer = TOKENIZERS["foreign"]
    assert tokenizer.vocab_size == 401
    assert tokenizer.encode("abc abc<|end|>", "all") == [300, SHIFTED[32], 300, 306]
    merges = {(A, B): 305, (B, C): 303}
    unreachable = foreign(merges, {(A, B): 0, (B, C): 1})
    unreachable.tokens[302] = b"abc"  # no merge leads here
    assert unreachable.encode(b"abc") == [305, C]
    whole = Vocabulary(unreachable.tokens, SHIFTED, merges, unreachable.order, ignore_merges=True)
    assert whole.encode(b"abc") == [302] and whole.encode(b"abca") == [305, C, A]


def test_a_replaced_bpe_encode_runs_where_it_can_know_the_order():
    with override(bpe_encode=lambda ids, merges: list(ids)):
        assert foreign(MERGES).encode(b"ab") == [A, B]
        with pytest.raises(UserError, match="order"):
            foreign(MERGES, dict.fromkeys(MERGES, 0)).encode(b"ab")


def test_make_tokenizer_from_a_word(tmp_path):
    data = TEXT.encode()
    assert make_tokenizer("char", data).vocab_size == len(set(TEXT))
    trained = make_tokenizer("bpe:300", data)
    assert trained.vocab_size == 300 and trained.pattern == "gpt2"
    save_tokenizer(trained, tmp_path / "t.json")
    assert make_tokenizer(str(tmp_path / "t.json"), b"").merges == trained.merges


@given(st.text(st.sampled_from("ab é\n1"), max_size=60), st.text(max_size=20))
def test_whole_words_are_single_tokens_and_other_text_still_comes_back(text, other):
    tokenizer = BPETokenizer.whole_words(text)
    assert [tokenizer.decode_bytes([i]) for i in tokenizer.encode(text)] == list(tokenizer.pieces(text))
    assert tokenizer.decode(tokenizer.encode(other)) == other


def test_of_too_many_words_the_most_frequent_become_tokens():
    tokenizer = BPETokenizer.whole_words("owl owl owl hen hen frog", most=258)
    assert tokenizer.vocab_size == 258
    assert [len(tokenizer.encode(word)) for word in (" owl", " hen", " frog")] == [1, 1, 5]
