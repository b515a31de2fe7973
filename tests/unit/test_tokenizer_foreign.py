"""Check that rank files and GPT-2's files are read as their libraries read them, or refused."""

import base64
import itertools
import json

import pytest
from foreign_tokenizers import write_ranks
from hypothesis import example, given
from hypothesis import strategies as st
from sample_texts import BYTES, drawn_ranks

from tinyllm.errors import UserError
from tinyllm.tokenizer import PATTERNS, BPETokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.byte_characters import CHARACTERS, GPT2_BYTES, characters, token_bytes


def by_ranks(piece, ranks):
    """tiktoken's rule as a spec: of neighbours that make a token the lowest rank, then the leftmost."""
    if piece in ranks:
        return [ranks[piece]]
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
        if not found:
            return [ranks[part] for part in parts]
        _, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@example(BYTES | {b"ab": 256, b"bc": 257, b"abc": 258}, ["abc", "abcabc"])
@given(drawn_ranks(), st.lists(st.text("abc", min_size=1, max_size=12)))
def test_ranks_merge_as_in_tiktoken(ranks, pieces):
    tokenizer = BPETokenizer.from_ranks(ranks, "[abc]+")
    assert tokenizer.vocabulary.ids == ranks
    for piece in [*map(str.encode, pieces), *ranks]:
        assert tokenizer.encode(piece) == by_ranks(piece, ranks)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_rank_file_gives_the_ids_of_tiktoken(pattern, tmp_path):
    tiktoken = pytest.importorskip("tiktoken")
    text = "hello world, it's 12345 o'clock. I'LL! Привет 你好,世界 नमस्ते 👍🏽 \t\n\n\r\n if:\n  x\x85 " * 3
    ranks, special = BPETokenizer.train(text, 600, pattern).vocabulary.ids, {"<|a|>": 700, "<|b|>": 705}
    write_ranks(tmp_path / "ranks", ranks)
    ours = load_tokenizer(tmp_path / "ranks", pattern, special)
    theirs = tiktoken.Encoding(
        "learnt", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens=special)

    @example(text, {"<|a|>"})
    @given(st.text() | st.lists(st.sampled_from((*special, "it", " world", "请", "👍"))).map("".join),
           st.sets(st.sampled_from([*special])))
    def same(text, allowed):
        ids = ours.encode(text, allowed)
        assert ids == theirs.encode(text, allowed_special=allowed, disallowed_special=())
        assert ours.decode(ids) == theirs.decode(ids) == text

    same()


@pytest.mark.parametrize("change, match", [
    ({b"a": ...}, "0x61"), ({b"ab": 97}, "same id 97"), ({b"ab": -1}, "id of the token"),
    ({b"ab": 2**40}, "id of the token"), ({b"ab": True}, "id of the token"),
    ({b"": 300}, "at least one byte"), ({"ab": 300}, "at least one byte"), ({b"a" * 2**14: 256}, "too long"),
], ids=range(8))
def test_bad_ranks_are_refused(change, match):
    ranks = {token: rank for token, rank in {**BYTES, **change}.items() if rank is not ...}
    with pytest.raises(UserError, match=match):
        BPETokenizer.from_ranks(ranks, "gpt2")


def rank_file(ranks):
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


def test_a_rank_file_is_read_with_its_pattern(tmp_path):
    path = tmp_path / "some.txt"
    path.write_bytes(b"\n" + rank_file({b"ab": 256, **BYTES}).replace(b"\n", b"\r\n"))
    tokenizer = load_tokenizer(path, "gpt4", {"<|end|>": 999})
    assert tokenizer.encode("ab<|end|>", "all") == [256, 999] and tokenizer.pattern == "gpt4"
    assert load_tokenizer(path, "gpt4", ["<|end|>"]).special_tokens == {"<|end|>": 257}
    for special, problem in (({"<|end|>": 97}, "taken"), (None, "pattern")):
        with pytest.raises(UserError, match=problem):
            load_tokenizer(path, special and "gpt2", special)


@pytest.mark.parametrize("line, match", [
    (b"YQ== 300", "line 257.*before"), (b"YWI= 97", "same id 97"), (b"YWI= 99999999", "id of the token"),
    *((line, "line 257") for line in (b"YWI 300", b"YWI= -3", b"YWI= 9999999999", b"YWI=  300",
                                      b"Y\xffI= 300", b"=WI= 300", b" 300")),
])
def test_a_bad_line_of_a_rank_file_is_named(line, match, tmp_path):
    (tmp_path / "r").write_bytes(rank_file(BYTES) + line + b"\n")
    with pytest.raises(UserError, match=match):
        load_tokenizer(tmp_path / "r", "gpt2")


# GPT-2's files


def test_gpt2_writes_bytes_as_characters():
    assert sorted(GPT2_BYTES) == list(range(256)) and GPT2_BYTES[0] == ord("!") and GPT2_BYTES[-1] == 0xAD
    assert characters(b" a\n\x00\xff~") == "ĠaĊĀÿ~" and characters(b"\x7f\xad") == "ġŃ"
    for byte in range(256):
        assert token_bytes(characters(bytes([byte]))) == bytes([byte])
    assert [token_bytes(word) for word in (" ", "\xad", "a\x7f", "\u4e00", "Ġ\ud800")] == [None] * 5


def gpt2_folder(tmp_path, vocab, merges):
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text(merges)
    return tmp_path


GPT2_VOCAB = {CHARACTERS[byte]: i for i, byte in enumerate(GPT2_BYTES)}
GPT2_VOCAB |= {"Ġt": 256, "he": 257, "Ġthe": 258, "never": 259, "<|endoftext|>": 260, "Ġnever": 261}
GPT2_VOCAB |= {"一": 262}
GPT2_MERGES = "#version: 0.2\nĠ t\nh e\nĠt he\n"


def test_gpt2_files_are_read_from_either_or_from_the_folder(tmp_path):
    gpt2_folder(tmp_path, GPT2_VOCAB, GPT2_MERGES)
    for path in (tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        tokenizer = load_tokenizer(path)
        assert tokenizer.encode(" the!the") == [258, 0, 83, 257]
        assert tokenizer.special_tokens == {"never": 259, "<|endoftext|>": 260, "一": 262}
        assert tokenizer.encode("<|endoftext|> never一", "all") == [260, 220, 259, 262]
        assert tokenizer.decode([258, 261, 262]) == " the never一" and 259 not in tokenizer.encode("never")
    save_tokenizer(BPETokenizer([]), tmp_path)  # tokenizer.json says everything, so it goes first
    assert load_tokenizer(tmp_path).vocab_size == 256


def test_a_part_of_a_merge_is_an_ordinary_token_though_no_merge_makes_it(tmp_path):
    """It was taken for a special token, and the merge was saved without it."""
    tokenizer = load_tokenizer(gpt2_folder(tmp_path, GPT2_VOCAB, GPT2_MERGES.replace("h e\n", "")))
    assert "he" not in tokenizer.special_tokens
    save_tokenizer(tokenizer, tmp_path / "t.json")
    assert load_tokenizer(tmp_path / "t.json").fingerprint() == tokenizer.fingerprint()


@pytest.mark.parametrize("vocab, merges, match", [
    ({"a": 70}, "", "same id"), ({"h": ...}, "", "'h'"), ({"": 300}, "", "''"),
    *(({"a": wrong}, "", "id of the token 'a'") for wrong in (-1, 2**30, "64")),
    ({}, "x y", r"merges\[3\].*'xy'"), ({}, "xx y", r"merges\[3\].*'xx'"), ({}, "h e", r"merges\[3\].*twice"),
    *(({}, line, "merges.txt: line 5") for line in ("h e e", "he", " he")),
])
def test_bad_gpt2_files_are_refused(vocab, merges, match, tmp_path):
    changed = {word: i for word, i in {**GPT2_VOCAB, **vocab}.items() if i is not ...}
    with pytest.raises(UserError, match=match):
        load_tokenizer(gpt2_folder(tmp_path, changed, GPT2_MERGES + merges))


@pytest.mark.parametrize("name, content, options, problem", [
    ("merges.txt", "#version: 0.2\n", {}, "without merges nothing makes the token 'he'"),  # no special token
    ("merges.txt", "a b\n" * (2**20 + 1), {}, "1048576 lines"), ("merges.txt", None, {}, r"merges\.txt"),
    ("vocab.json", None, {}, r"merges.txt without a vocab\.json"),
    ("vocab.json", "[]", {}, r"vocab\.json: holds a list"), ("added_tokens.json", "{}", {}, "added_tokens"),
    ("merges.txt", GPT2_MERGES, {"special_tokens": ["x"]}, "of its own"),
    ("tokenizer.json", json.dumps(BPETokenizer([]).to_dict()), {"pattern": "gpt2"}, "of its own"),
], ids=range(8))
def test_folders_that_cannot_be_read(name, content, options, problem, tmp_path):
    gpt2_folder(tmp_path, GPT2_VOCAB, GPT2_MERGES)
    (tmp_path / name).write_text(content) if content is not None else (tmp_path / name).unlink()
    path = tmp_path / "merges.txt" if name == "vocab.json" else tmp_path
    with pytest.raises(UserError, match=problem):
        load_tokenizer(path, **options)
    for nothing in (tmp_path / "nothing.json", "a\0b"):
        with pytest.raises(UserError, match="cannot read"):
            load_tokenizer(nothing)
