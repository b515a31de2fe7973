"""Check that tokenizers lose no text, find special tokens only if asked to, and learn as promised."""

import io
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from sample_texts import BYTES, SPECIAL, TEXT, any_bytes, any_text, drawn_ranks

from tinyllm import UserError, save_tokenizer
from tinyllm.ops.registry import _compiled, override, use
from tinyllm.tokenizer import PATTERNS, BPETokenizer, ByteTokenizer, CharTokenizer, make_tokenizer, strings
from tinyllm.tokenizer.vocabulary import Vocabulary

# As of another library: other ids of bytes, gaps between ids, and a token that no merge makes.
RANKS = {bytes([byte]): (byte + 7) % 256 for byte in range(256)}
RANKS |= {b"ab": 305, b"bc": 303, b"aa": 301, b"abcabc": 309}
TOKENIZERS = {
    "byte": ByteTokenizer(SPECIAL),
    "char": CharTokenizer.train(TEXT + "".join(SPECIAL), SPECIAL),
    **{pattern: BPETokenizer.train(TEXT, 400, pattern, SPECIAL) for pattern in ("gpt2", "gpt4")},
    "foreign": BPETokenizer(Vocabulary.from_ranks(RANKS), "gpt2",
                            dict(zip(SPECIAL, (306, 307, 260, 400), strict=True))),
}
EVERY = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
byte = TOKENIZERS["byte"]
BACKENDS = ("numpy", "compiled") if _compiled else ("numpy",)


@EVERY
@given(any_text, st.sets(st.sampled_from(SPECIAL)))
def test_every_str_comes_back_and_only_allowed_names_are_special(tokenizer, text, allowed):
    if tokenizer.kind == "char":
        text = "".join(c for c in text if c in tokenizer._characters)
    special = set(tokenizer.special_tokens.values())
    for names in ((), allowed):
        ids = tokenizer.encode(text, names)
        assert tokenizer.decode(ids) == text and all(type(i) is int for i in ids)
        found = special & set(ids)
        assert found <= {tokenizer.special_tokens[name] for name in names}
        assert bool(found) == any(name in text for name in names)
        rest = tokenizer.decode([i if i not in found else 0 for i in ids])
        assert not any(name in rest for name in names)
        array, batch = tokenizer.encode_to_numpy(text, names), tokenizer.encode_batch([text, ""], names)
        assert array.dtype == np.int32 and array.tolist() == ids and batch == [ids, []]
        for same in (array.astype(np.uint16), array.repeat(2)[::2], tuple(array), iter(ids)):
            assert tokenizer.decode(same) == text
        with use("numpy"):
            assert tokenizer.encode(text, names) == ids
    assert tokenizer.encode(text, "all") == tokenizer.encode(text, SPECIAL)


@pytest.mark.parametrize("tokenizer", [t for t in TOKENIZERS.values() if t.kind != "char"])
@given(any_text, any_bytes)
def test_every_byte_string_comes_back(tokenizer, text, data):
    data = text.encode() + data
    ids = tokenizer.encode(data)
    assert tokenizer.decode_bytes(ids) == data and tokenizer.encode(text) == tokenizer.encode(text.encode())
    assert tokenizer.encode(bytearray(data)) == tokenizer.encode(memoryview(data)) == ids
    for errors in ("ignore", "replace", "surrogateescape"):
        assert tokenizer.decode(ids, errors) == data.decode("utf-8", errors)
    if isinstance(tokenizer, BPETokenizer):
        pieces = list(tokenizer.pieces(data))
        assert b"".join(pieces) == data and all(pieces)
        assert [i for piece in pieces for i in tokenizer.vocabulary.encode(piece)] == ids


def by_ranks(piece, ranks):
    """Encode by tiktoken's rule: merge the neighbours whose token has the lowest rank, the leftmost first."""
    if piece in ranks:
        return [ranks[piece]]
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return [ranks[part] for part in parts]
        _, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@given(drawn_ranks(), st.lists(st.text("abc", min_size=1, max_size=12)))
def test_ranks_merge_as_in_tiktoken(ranks, pieces):
    for some in (ranks, RANKS, BYTES | {b"ab": 256, b"bc": 257, b"abc": 258}):
        tokenizer = BPETokenizer(Vocabulary.from_ranks(some))
        assert tokenizer.vocabulary.ids == some
        for piece in [*map(str.encode, pieces), *(token for token in some if token.isalpha())]:
            assert tokenizer.encode(piece) == by_ranks(piece, some)


@given(st.text(st.sampled_from("ab é\n1"), max_size=60), st.text(max_size=20))
def test_whole_words_are_single_tokens_and_other_text_still_comes_back(text, other):
    tokenizer = BPETokenizer.whole_words(text)
    assert [tokenizer.decode_bytes([i]) for i in tokenizer.encode(text)] == list(tokenizer.pieces(text))
    assert tokenizer.decode(tokenizer.encode(other)) == other


def trained(*args, **options):
    return lambda: BPETokenizer.train(TEXT, *args, **options)


def ranked(change):
    ranks = {token: rank for token, rank in {**BYTES, **change}.items() if rank is not ...}
    return lambda: Vocabulary.from_ranks(ranks)


@pytest.mark.parametrize("call, problem", [
    (lambda: CharTokenizer(["a"]).encode("aé"), r"'é' \(U\+00E9\)"),
    (lambda: CharTokenizer(["a"]).encode("A\U0010ffff"), r"'A' \(U\+0041\)"),
    (lambda: CharTokenizer(["a"]).encode(b"a\xff"), r"the byte 0xff.*byte or bpe"),
    (lambda: CharTokenizer.train(b""), "empty"),
    *((lambda wrong=wrong: CharTokenizer(wrong), "characters")
      for wrong in (["a", "a"], ["b", "a"], ["ab"], [""], [1])),
    *((lambda half=half: TOKENIZERS["gpt2"].encode(half), "half a character")
      for half in ("\ud83d\ude00", "a\udcff" * 999)),
    (lambda: byte.encode("text", allowed_special={"nobody"}), "no special token 'nobody'"),
    *((lambda names=names: ByteTokenizer(names), problem) for names, problem in (
        (["a", "a"], "twice"), ([""], "not ''"), ([3], "not 3"), (["\ud800"], "half a character"))),
    (lambda: ByteTokenizer({"<e>": 97}), "'<e>' cannot have the id 97, which is taken"),
    *((lambda i=i: ByteTokenizer({"<e>": i}), "special token '<e>'") for i in (-1, 2**40, True, "x")),
    *((lambda i=i: TOKENIZERS["foreign"].decode([305, i]), f"no token {i}")
      for i in (302, -1, 401, 2**64, 1.5, "a")),
    (lambda: byte.decode(np.array([[1, 2]])), r"no token \[1, 2\]: decode takes one sequence"),
    (lambda: BPETokenizer([[97, 97], *([256 + i] * 2 for i in range(40))]), "64 MB"),
    (lambda: BPETokenizer([[97, 256]]), "0 to 255"), (lambda: BPETokenizer([(97, 97)] * 2), "twice"),
    *((trained(300, pattern), "gpt2, gpt4, o200k, qwen2, not by") for pattern in ("words", "(", None)),
    (trained(256, special_tokens=["x"]), "too small"),
    *((ranked(change), problem) for change, problem in (
        ({b"a": ...}, "0x61"), ({b"ab": 97}, "same id 97"), ({b"ab": -1}, "id of the token"),
        ({b"a" * 2**14: 256}, "too long"))),
    *((lambda spec=spec: make_tokenizer(spec, b"\xff"), problem) for spec, problem in (
        ("bpe", "bpe:4096"), ("bpe:x", "bpe:4096"), ("bpe:" + "9" * 99, "bpe:4096"), ("bpe:3", "too small"),
        ("words", "char, word"), ("", "char, word"), ("char", "not UTF-8"))),
])
def test_what_does_not_fit_is_refused_by_name(call, problem):
    for backend in BACKENDS:
        with use(backend), pytest.raises(UserError, match=problem):
            call()


def test_special_tokens_by_example():
    end, longer, user, e = (byte.special_tokens[name] for name in SPECIAL)
    assert [end, longer, user, e] == list(range(byte.vocab_size - 4, byte.vocab_size))
    assert byte.encode("<|end|><|user|>", "all") == [end, user]
    assert byte.encode("<|end|>>", {"<|end|>", "<|end|>>"}) == [longer]  # the longest name wins
    assert byte.encode("<|end|>>", {"<|end|>"}) == [end, ord(">")]
    assert byte.encode(b"\xc3\xc3\xa9\xa9", "all") == [0xC3, e, 0xA9]  # found between broken bytes
    assert byte(["<|end|>", "é"], ["é"])[1] == [e] == byte("é", ["é"])
    more = ByteTokenizer(["a"])
    more.add_special_tokens(["a", "b"])
    assert more.special_tokens == {"a": 256, "b": 257} and more.decode([256, 257]) == "ab"
    assert more.vocab_size == 258 and TOKENIZERS["foreign"].vocab_size == 401
    for wrong in (lambda: ByteTokenizer("<|end|>"),
                  *(trained(300, special_tokens=names) for names in ("<|end|>", {"<|end|>": 300}))):
        refuses(r"<\|end\|>", wrong, error=TypeError)


def test_training_keeps_its_promises(tmp_path):
    tokenizer = trained(300, special_tokens=["<|end|>"])()
    assert tokenizer.vocab_size == 300 and tokenizer.special_tokens == {"<|end|>": 299}
    assert len(tokenizer.encode(TEXT)) < len(TEXT.encode()) / 1.5
    assert BPETokenizer.train("", 300).vocab_size == BPETokenizer.train([], 300).vocab_size == 256
    assert BPETokenizer.train("ab", 300).vocab_size == 257  # the text has no more pairs
    halves = [TEXT.encode()[:200], TEXT.encode()[200:]]
    assert BPETokenizer.train(reversed(halves), 320).merges == BPETokenizer.train(halves, 320).merges
    assert trained(300)().merges == BPETokenizer.train(TEXT.encode(), 300).merges
    save_tokenizer(made := make_tokenizer("bpe:300", TEXT.encode()), tmp_path / "t.json")
    assert make_tokenizer(str(tmp_path / "t.json"), b"").merges == made.merges


@pytest.mark.skipif(_compiled is None, reason="only the kernels tell of progress")
def test_progress_is_reported_and_an_error_in_it_ends_the_training():
    calls = []
    trained(266, progress=lambda done, total: calls.append((done, total)))()
    assert calls == [(i, 10) for i in range(1, 11)]
    with pytest.raises(ZeroDivisionError):
        trained(300, progress=lambda done, total: 1 // 0)()


def test_a_replaced_op_runs_in_every_backend_and_is_not_remembered():
    tokenizer = trained(300)()
    before = tokenizer.encode("the cat")
    for backend in BACKENDS:
        with use(backend):
            with override(bpe_encode=lambda ids, merges: list(ids)):
                assert tokenizer.encode("the cat") == list(b"the cat")
                refuses("order", TOKENIZERS["foreign"].encode, "ab")
            with override(split_pieces=lambda text, pattern: np.arange(1, len(text) + 1)):
                assert trained(300)().merges == {} and tokenizer.encode("the cat") == list(b"the cat")
            with override(bpe_train=lambda pieces, counts, n_merges: {(1, 2): 256}):
                assert trained(300)().merges == {(1, 2): 256}
            with override(bpe_merge=lambda ids, pair, new_id: [new_id] if len(ids) == 2 else list(ids)):
                assert BPETokenizer.train(["ab", "abc"], 257).merges == {(97, 98): 256}
            assert tokenizer.encode("the cat") == before != list(b"the cat")


# Texts larger than memory: reading them in blocks gives the pieces and merges of the whole text.

LONG = ("It's the cat's 12345 naïve “mats” \n\n\t and   spaces\r\n, 你好 😀😀 " * 40).encode()
scraps = [b"a", b"it's", b" ", b"  ", b"\n", b"12", b"!", "é".encode(), b"\xf0\x9f", "\u0301".encode()]
texts = st.lists(st.sampled_from(scraps), max_size=60).map(b"".join)


def blocks_of(text, tokenizer, size):
    with mock.patch.object(strings, "BLOCK", size):
        return list(strings.blocks(io.BytesIO(text), tokenizer._last_cut))


@pytest.mark.parametrize("tokenizer", [BPETokenizer([], pattern) for pattern in PATTERNS], ids=PATTERNS)
@given(texts, st.integers(1, 40))
def test_blocks_have_the_pieces_of_the_whole(tokenizer, text, size):
    parts = blocks_of(text, tokenizer, size)
    assert b"".join(parts) == text and all(parts)
    assert [piece for part in parts for piece in tokenizer.pieces(part)] == list(tokenizer.pieces(text))


def test_blocks_end_where_the_pattern_allows_cuts_and_are_bounded(monkeypatch):
    tokenizer = BPETokenizer([], "gpt4")
    assert _compiled is None or len(blocks_of(LONG, tokenizer, 500)) > 5
    with override(split_pieces=lambda text, pattern: np.arange(1, len(text) + 1)):
        assert len(blocks_of(LONG, tokenizer, 500)) == 1
    monkeypatch.setattr(strings, "LARGEST_BLOCK", 1000)
    refuses("no place to cut it", blocks_of, b"a" * 2000, tokenizer, 100)
