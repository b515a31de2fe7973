"""Check that rank files and GPT-2's files are read as their libraries read them, or refused."""

import base64
import itertools
import json

import pytest
from foreign_tokenizers import write_gpt2, write_ranks
from hypothesis import example, given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.tokenizer import PATTERNS, BPETokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.byte_characters import CHARACTERS, GPT2_BYTES, characters, token_bytes
from tinyllm.tokenizer.patterns import QWEN2
from tinyllm.tokenizer.vocabulary import Vocabulary

TEXT = "the cat's 12 naïve hats sat on the mat, the mat the cat sat \n\n  on 😀😀 <|end|> " * 3
LEARNT = BPETokenizer.train(TEXT, 320, special_tokens=["<|end|>"])
BYTES = {bytes([byte]): byte for byte in range(256)}
texts = st.one_of(
    st.text(), st.text("thecasmno \n'<|>d12"), st.lists(st.sampled_from(TEXT.split(" "))).map(" ".join)
)
short = st.binary(min_size=2, max_size=5).map(lambda data: bytes(97 + byte % 3 for byte in data))


@st.composite
def drawn_ranks(draw):
    """All bytes and some strings of a, b, c, in any order, with gaps between the ranks."""
    tokens = [*BYTES, *draw(st.lists(short, max_size=12, unique=True))]
    tail = draw(st.permutations(tokens[250:]))
    step = draw(st.integers(1, 2))
    return {token: i * step for i, token in enumerate([*tokens[:250], *tail])}


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


abc = st.text("abc", max_size=12)


@example(BYTES | {b"ab": 256, b"bc": 257, b"abc": 258}, ["abc", "abcabc"])
@given(drawn_ranks(), st.lists(abc))
def test_ranks_merge_as_in_tiktoken(tmp_path_factory, ranks, pieces):
    tokenizer = BPETokenizer.from_ranks(ranks, "[abc]+")
    assert tokenizer.vocabulary.ids == ranks
    loaded = through(tokenizer, tmp_path_factory.mktemp("ranks"))
    for piece in filter(None, pieces):
        assert tokenizer.encode(piece) == loaded.encode(piece) == by_ranks(piece.encode(), ranks)
    for token, i in ranks.items():
        assert tokenizer.encode(token) == [i] and tokenizer.decode_bytes([i]) == token


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


def test_gpt2_writes_bytes_as_characters():
    assert sorted(GPT2_BYTES) == list(range(256)) and GPT2_BYTES[0] == ord("!") and GPT2_BYTES[-1] == 0xAD
    assert characters(b" a\n\x00\xff~") == "ĠaĊĀÿ~" and characters(b"\x7f\xad") == "ġŃ"
    assert len(set(CHARACTERS.values())) == 256
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
    with pytest.raises(UserError, match="special tokens of its own"):
        load_tokenizer(tmp_path, special_tokens=["一"])


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


def test_gpt2_files_beside_others(tmp_path):
    with pytest.raises(UserError, match="without merges nothing makes the token 'he'"):  # no special token
        load_tokenizer(gpt2_folder(tmp_path, GPT2_VOCAB, "#version: 0.2\n"))
    gpt2_folder(tmp_path, GPT2_VOCAB, GPT2_MERGES)
    (tmp_path / "added_tokens.json").write_text("{}")
    with pytest.raises(UserError, match="added_tokens"):
        load_tokenizer(tmp_path)
    save_tokenizer(LEARNT, tmp_path / "tokenizer.json")  # says everything, so it goes first
    assert load_tokenizer(tmp_path).vocab_size == LEARNT.vocab_size
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "vocab.json").write_text(json.dumps(GPT2_VOCAB))
    with pytest.raises(UserError, match=r"merges\.txt"):
        load_tokenizer(tmp_path / "alone")
    gpt2_folder(tmp_path / "alone", [], GPT2_MERGES)
    with pytest.raises(UserError, match=r"vocab\.json: holds a list"):
        load_tokenizer(tmp_path / "alone" / "merges.txt")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(UserError, match="not JSON"):
        load_tokenizer(tmp_path / "merges.txt")


def through(tokenizer, folder):
    """Save and load again."""
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    return load_tokenizer(folder / "tokenizer.json")


@pytest.mark.parametrize("format", ["tiktoken", "gpt2"])
def test_files_of_others_are_read_as_the_tokenizer_that_wrote_them(format, tmp_path):
    if format == "tiktoken":
        write_ranks(tmp_path / "ranks", LEARNT.vocabulary.ids)
        read = load_tokenizer(tmp_path / "ranks", "gpt2", LEARNT.special_tokens)
    else:
        write_gpt2(tmp_path, LEARNT)
        read = load_tokenizer(tmp_path)
    again = through(read, tmp_path)
    assert again.fingerprint() == read.fingerprint()
    assert read.special_tokens == LEARNT.special_tokens and read.vocab_size == LEARNT.vocab_size
    everything = range(read.vocab_size)
    assert read.decode_bytes(everything) == LEARNT.decode_bytes(everything)

    @given(texts)
    def same(text):
        for allowed in ((), "all"):
            ids = LEARNT.encode(text, allowed)
            assert read.encode(text, allowed) == again.encode(text, allowed) == ids

    same()


names = st.text("<|abĠé ", min_size=1, max_size=4).filter(lambda name: len(name.encode()) > 1)


@st.composite
def drawn_tokenizers(draw):
    """Ranks, or a vocabulary without some bytes; names with ids that follow, in gaps or beyond."""
    vocabulary = Vocabulary.from_ranks(draw(drawn_ranks()))
    if draw(st.booleans()):
        words, pairs = vocabulary.words()
        gone = draw(st.sets(st.sampled_from([CHARACTERS[byte] for byte in range(128, 256)])))
        words = {word: i for word, i in words.items() if word not in gone}
        vocabulary = Vocabulary.from_words(words, pairs, draw(st.booleans()))
    special = draw(st.lists(names, max_size=4, unique=True))
    if draw(st.booleans()):
        taken = {i for i, token in enumerate(vocabulary.tokens) if token is not None}
        free = [i for i in range(len(vocabulary.tokens) + 9) if i not in taken]
        special = dict(zip(special, draw(st.permutations([*free, 1000, 5000])), strict=False))
    pattern = draw(st.sampled_from([*PATTERNS, QWEN2, "[abc]+"]))
    tokenizer = BPETokenizer.from_vocabulary(vocabulary, pattern, special)
    tokenizer.normalizer = draw(st.sampled_from([None, "NFC"]))
    return tokenizer


@given(drawn_tokenizers(), st.text("abcé <|Ġ"))
def test_tokenizers_in_hugging_faces_form_are_loaded_as_they_were(tmp_path_factory, tokenizer, text):
    try:
        loaded = through(tokenizer, tmp_path_factory.mktemp("law"))
    except UserError as error:
        assert "a file cannot hold the special token" in str(error)
        return
    assert loaded.fingerprint() == tokenizer.fingerprint() and loaded.vocab_size == tokenizer.vocab_size
    assert loaded.special_tokens == tokenizer.special_tokens and type(loaded) is type(tokenizer)
    for allowed in ((), "all"):
        assert encoded(loaded, text, allowed) == encoded(tokenizer, text, allowed)


def encoded(tokenizer, text, allowed):
    try:
        return tokenizer.encode(text, allowed)
    except UserError as error:
        return str(error)
